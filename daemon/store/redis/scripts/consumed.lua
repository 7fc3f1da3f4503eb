#!lua flags=allow-oom
-- Running attempts have looked at the values sent to them, up to a number.
-- KEYS[1] P
-- ARGV  for each: job id, token (worker, attempt as ">I4"), the number
-- Returns nothing. One script, because only the attempt that runs may say so.
for at = 1, #ARGV, 3 do
  local id = ARGV[at]
  local record = stored(id)
  if record and byte(record) == RUNNING and sub(record, 12, 31) == ARGV[at + 1] then
    local before, last = unpack_struct('>I8', record, 40), unpack_struct('>I8', record, 96)
    local number = math.min(tonumber(ARGV[at + 2]), last)
    if number > before then
      touch(id)
      store(id, sub(record, 1, 39) .. pack('>I8', number) .. sub(record, 48))
    end
  end
end
return 0
