-- Turns a function's reply into a Message {Msg [1]}, and an error into a gRPC status with a message.
-- It runs after the reverse bridge, which adds the five-byte prefix. For an error it stores status
-- and message and sets another content type, which the reverse bridge rejects: Envoy then sends
-- its own reply, with the stored values. grpc.py defines the names in capitals.

local byte, char, find, sub = string.byte, string.char, string.find, string.sub
local floor, gsub = math.floor, string.gsub
local band, bor = bit.band, bit.bor
local ffi = require("ffi")

local ESCAPES = {b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}

local function set_status(handle, number, message)
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set(METADATA, "status", tostring(number))
  metadata:set(METADATA, "message", message)
end

-- Returns the position of the first byte that is not ASCII; nil if there is none. It checks sixteen
-- bytes at a time: a pattern needs 10 ms for a megabyte, and the thread serves no other call then.
local function beyond_ascii(text, at)
  local words = ffi.cast("const uint32_t *", ffi.cast("const char *", text) + at - 1)
  local steps = floor((#text - at + 1) / 16)
  for step = 0, steps - 1 do
    local one, two = words[4 * step], words[4 * step + 1]
    local three, four = words[4 * step + 2], words[4 * step + 3]
    if band(bor(bor(one, two), bor(three, four)), 0x80808080) ~= 0 then
      return find(text, "[\128-\255]", at + 16 * step)
    end
  end
  return find(text, "[\128-\255]", at + 16 * steps)
end

local function is_utf8(text)
  local at = beyond_ascii(text, 1)
  while at do
    local a, b, c, d = byte(text, at, at + 3)
    if not a then return true end
    if a < 0x80 then
      at = beyond_ascii(text, at)
    elseif a < 0xC2 or a > 0xF4 or not b or b < 0x80 or b > 0xBF then
      return false
    elseif a < 0xE0 then
      at = at + 2
    elseif not c or c < 0x80 or c > 0xBF then
      return false
    elseif a < 0xF0 then
      if (a == 0xE0 and b < 0xA0) or (a == 0xED and b > 0x9F) then return false end
      at = at + 3
    elseif not d or d < 0x80 or d > 0xBF or (a == 0xF0 and b < 0x90) or (a == 0xF4 and b > 0x8F) then
      return false
    else
      at = at + 4
    end
  end
  return true
end

-- Returns the UTF-8 of a code point; a lone surrogate becomes the replacement character.
local function character(code)
  if code >= 0xD800 and code <= 0xDFFF then code = 0xFFFD end
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 64), 0x80 + code % 64) end
  return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
end

local function unescaped(kind, digits)
  if kind == "u" and #digits == 4 then return character(tonumber(digits, 16)) end
  return (ESCAPES[kind] or kind) .. digits
end

-- Returns a text member of a JSON object; "" if there is none. The content of another text cannot be
-- mistaken for a member's name, because quotation marks in it are escaped.
local function member(document, name)
  local _, begin = find(document, '"' .. name .. '"%s*:%s*"')
  if not begin then return "" end
  local stop = begin
  repeat
    stop = find(document, '["\\]', stop + 1)
    if not stop then return "" end
    local quote = byte(document, stop) == 34
    if not quote then stop = stop + 1 end
  until quote
  return (gsub(sub(document, begin + 1, stop - 1), "\\(.)(%x?%x?%x?%x?)", unescaped))
end

-- Shortens a text so that its percent-encoded form has some LONGEST_MESSAGE bytes. It removes the
-- middle: the beginning says what happened, and the end of a traceback says why.
local function bounded(text)
  if not is_utf8(text) then text = gsub(text, "[\128-\255]", "?") end
  local _, dear = gsub(text, "[^ -$&-~]", "")
  local encoded = #text + 2 * dear
  if encoded <= LONGEST_MESSAGE then return text end
  local kept = floor(#text * LONGEST_MESSAGE / encoded)
  local head = gsub(sub(text, 1, floor(kept / 3)), "[\192-\255][\128-\191]*$", "")
  local tail = gsub(sub(text, -floor(kept * 2 / 3)), "^[\128-\191]+", "")
  return head .. "\n[...]\n" .. tail
end

-- Returns status and message of a problem document, or of any other reply that is not a success.
local function read(document, status)
  local number, message = NUMBERS[member(document, "error")], member(document, "detail")
  if not number or message == "" then
    number = OF_HTTP[status] or OTHER
    message = sub(document, 1, LONGEST_MESSAGE)
    return number, message == "" and "HTTP " .. status or bounded(message)
  end
  local _, _, near = find(document, '"near"%s*:%s*%[(.-)%]')
  if near then
    near = gsub(gsub(near, '"', ""), ", *", " or ")
    message = message .. " (did you mean " .. near .. "?)"
  end
  local traceback = member(document, "traceback")
  if traceback ~= "" then message = message .. "\n" .. traceback end
  return number, bounded(message)
end

local function percent_decoded(text)
  return (gsub(text, "%%(%x%x)", function(digits) return char(tonumber(digits, 16)) end))
end

local function percent_encoded(text)
  return (gsub(text, "[^ -$&-~]", function(char_) return string.format("%%%02X", byte(char_)) end))
end

-- Returns a number as a varint.
local function varint(number)
  local text = ""
  while number >= 128 do
    text = text .. char(128 + number % 128)
    number = floor(number / 128)
  end
  return text .. char(number)
end

function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get("grpc-status") then
    -- A reply of the control plane, or Envoy's own, whose message is a problem document.
    local message = headers:get("grpc-message") or ""
    if sub(message, 1, 1) ~= "{" then return end
    local number, plain = read(percent_decoded(message), 500)
    if number == BODY_TOO_LARGE then plain = "the message has " .. TOO_LARGE end
    set_status(handle, number, plain)
    headers:replace("grpc-status", tostring(number))
    headers:replace("grpc-message", percent_encoded(plain))
    return
  end
  if find(headers:get("content-type") or "", "^application/grpc") then return end
  local length = tonumber(headers:get("content-length") or "")
  if length and length > LARGEST then
    headers:replace("content-type", "error")
    return set_status(handle, BODY_TOO_LARGE, "the reply has " .. TOO_LARGE)
  end
  local body = handle:body(true)
  local text = body:getBytes(0, body:length())
  headers = handle:headers()  -- get them again: the object from before the body is stale
  local status = tonumber(headers:get(":status"))
  local good = status >= 200 and status < 300
  if good and is_utf8(text) then
    headers:replace(":status", "200")
    headers:replace("content-type", BINARY)
    headers:replace("content-length", tostring(body:setBytes("\10" .. varint(#text) .. text)))
    return
  end
  headers:replace("content-type", "error")
  if good then return set_status(handle, UNSUPPORTED_REPLY, NO_TEXT) end
  set_status(handle, read(text, status))
end
