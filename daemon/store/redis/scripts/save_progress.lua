#!lua
-- Keeps the last progress of running jobs.
-- KEYS[1] P
-- ARGV  1 INC of the caller, then for each job its id, its token (worker, attempt as ">I4") and the
--       serialized Progress
-- Returns a letter for each: k kept, s stale.
-- One script, because only the attempt that runs may say so.
local letters, ids = {}, {}
for at = 2, #ARGV, 3 do ids[#ids + 1] = ARGV[at] end
local following = followers(ids, ARGV[1])
for at = 2, #ARGV, 3 do
  local id, progress = ARGV[at], ARGV[at + 2]
  local record = stored(id)
  if not record or byte(record) ~= RUNNING or sub(record, 12, 31) ~= ARGV[at + 1] then
    letters[#letters + 1] = 's'
  else
    letters[#letters + 1] = 'k'
    call('HSET', P .. 'progress', id, progress)
    local flags = byte(record, 10)
    if not has(flags, PROGRESS) then
      touch(id)
      store(id,
        sub(record, 1, 9) .. string.char(flags + PROGRESS) .. sub(record, 11))
    end
    tell_all(following[id], 'p', id, progress)
  end
end
return table.concat(letters)
