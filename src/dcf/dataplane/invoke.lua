-- Turns an InvokeServiceRequest {Service [1], Input [2]} into a call of the function.
-- It runs before the reverse bridge, so the message still has its five-byte prefix: flag and length.
-- grpc.py defines the names in capitals.

local byte, sub, match = string.byte, string.sub, string.match

local MILLISECONDS = {H = 3600000, M = 60000, S = 1000, m = 1, u = 0.001, n = 0.000001}

local function refuse(handle, number, message)
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set(METADATA, "status", tostring(number))
  metadata:set(METADATA, "message", message)
  handle:respond({[":status"] = "400"}, "refused")
end

-- Returns a varint and the position after it; nil if it is truncated or too long.
local function varint(text, at)
  local value, factor = 0, 1
  for place = at, at + 9 do
    local current = byte(text, place)
    if not current then return nil end
    value = value + (current % 128) * factor
    if current < 128 then return value, place + 1 end
    factor = factor * 128
  end
  return nil
end

-- Returns the position after an unknown field; nil if its length is unknown.
local function skip(text, at, kind)
  if kind == 0 then
    local _, after = varint(text, at)
    return after
  end
  if kind == 1 then return at + 8 end
  if kind == 5 then return at + 4 end
  return nil
end

-- Returns Service and the first and last position of Input; nil if the message is malformed. If a
-- field occurs several times, the last one counts, as always in protobuf.
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
  -- A name with a typo passes: the control plane then suggests similar names.
  if #service > 100 or not match(service, "^[%w_.-]+$") then
    return refuse(handle, BAD_REQUEST, "Service: expected a function's name")
  end
  local amount, unit = match(headers:get("grpc-timeout") or "", "^(%d+)([HMSmun])$")
  if amount and #amount <= 8 then
    local left = math.ceil(amount * MILLISECONDS[unit])
    left = math.min(left, tonumber(headers:get(DEADLINE_MS) or "") or left)
    headers:replace(DEADLINE_MS, string.format("%d", left))
    -- Envoy enforces this one in case the watcher does not.
    if left + EXTRA_MS <= 99999999 then
      headers:replace("grpc-timeout", string.format("%dm", left + EXTRA_MS))
    end
  end
  headers:replace(":path", FUNCTION_PREFIX .. service)
  -- The reverse bridge removes a prefix of five bytes. Its content does not matter, so keep the bytes
  -- that precede Input.
  local input = first > final and "\0\0\0\0\0" or sub(text, first - 5, final)
  headers:replace("content-length", tostring(body:setBytes(input)))
end
