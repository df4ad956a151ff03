-- An InvokeServiceRequest {Service [1], Input [2]} becomes a call of that function.
-- Before the bridge: the five bytes in front of the message (its flag and its length) are there.
-- Names in capitals come from grpc.py.

local byte, sub, match = string.byte, string.sub, string.match

local MILLISECONDS = {H = 3600000, M = 60000, S = 1000, m = 1, u = 0.001, n = 0.000001}

local function refuse(handle, number, message)
  local told = handle:streamInfo():dynamicMetadata()
  told:set(TOLD, "status", tostring(number))
  told:set(TOLD, "message", message)
  handle:respond({[":status"] = "400"}, "refused")
end

-- A varint, and the place behind it; nil when it is cut off or too long.
local function varint(text, at)
  local value, factor = 0, 1
  for place = at, at + 9 do
    local one = byte(text, place)
    if not one then return nil end
    value = value + (one % 128) * factor
    if one < 128 then return value, place + 1 end
    factor = factor * 128
  end
  return nil
end

-- The place behind a field that is not known here; nil when it cannot be told.
local function skip(text, at, kind)
  if kind == 0 then
    local _, after = varint(text, at)
    return after
  end
  if kind == 1 then return at + 8 end
  if kind == 5 then return at + 4 end
  return nil
end

-- Service, and where Input begins and ends; nil when the message is malformed. Of a field that comes
-- several times the last one counts, as everywhere in protobuf.
local function parse(text)
  local service, first, final = "", 1, 0
  local at, last = 6, #text
  while at <= last do
    local tag, length
    tag, at = varint(text, at)
    if not tag or tag < 8 then return nil end
    local field, kind = math.floor(tag / 8), tag % 8
    if kind == 2 then
      length, at = varint(text, at)
      if not length or at + length - 1 > last then return nil end
      if field == 1 then
        service = sub(text, at, at + length - 1)
      elseif field == 2 then
        first, final = at, at + length - 1
      end
      at = at + length
    elseif field < 3 then
      return nil
    else
      at = skip(text, at, kind)
      if not at or at > last + 1 then return nil end
    end
  end
  return service, first, final
end

function envoy_on_request(handle)
  local body = handle:body(true)
  local text = body:getBytes(0, body:length())
  local headers = handle:headers()
  local flag, a, b, c, d = byte(text, 1, 5)
  if not d or ((a * 256 + b) * 256 + c) * 256 + d ~= #text - 5 then
    return refuse(handle, BAD_REQUEST, "expected one whole message, uncompressed")
  end
  if flag ~= 0 then
    return refuse(handle, UNIMPLEMENTED, "expected an uncompressed message, got a compressed one")
  end
  local service, first, final = parse(text)
  if not service then
    return refuse(handle, BAD_REQUEST, "the message is malformed: expected InvokeServiceRequest")
  end
  if final - first + 1 > LARGEST then
    return refuse(handle, BODY_TOO_LARGE, "Input has " .. TOO_LARGE)
  end
  -- What may yet be a name with a slip of the keyboard is looked up, and told which are like it.
  if #service > 100 or not match(service, "^[%w_.-]+$") then
    return refuse(handle, BAD_REQUEST, "Service: expected a function's name")
  end
  local amount, unit = match(headers:get("grpc-timeout") or "", "^(%d+)([HMSmun])$")
  if amount and #amount <= 8 then
    local left = math.ceil(amount * MILLISECONDS[unit])
    left = math.min(left, tonumber(headers:get(DEADLINE_MS) or "") or left)
    headers:replace(DEADLINE_MS, string.format("%d", left))
    -- For Envoy itself, which ends the call where the watcher does not.
    if left + EXTRA_MS <= 99999999 then
      headers:replace("grpc-timeout", string.format("%dm", left + EXTRA_MS))
    end
  end
  headers:replace(":path", FUNCTION_PREFIX .. service)
  -- With any five bytes in front, for the bridge to take off: those that stand there need no copy.
  local input = first > final and "\0\0\0\0\0" or sub(text, first - 5, final)
  headers:replace("content-length", tostring(body:setBytes(input)))
end
