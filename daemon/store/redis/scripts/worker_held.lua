#!lua flags=no-writes
-- What a process runs, as the store has it.
-- KEYS[1] P
-- ARGV  1 INC  2 cursor, "0" at first  3 about how many
-- Returns {next cursor, {id, attempt, ...}}; it is the last part when the next cursor is "0".
local page = call('SSCAN', P .. 'held:' .. ARGV[1], ARGV[2], 'COUNT', ARGV[3])
local jobs = {}
for _, id in ipairs(page[2]) do
  local job = call('HGET', P .. 'job', id)
  if job then
    jobs[#jobs + 1] = id
    jobs[#jobs + 1] = unpack_struct('>I4', job, 28)
  end
end
return {page[1], jobs}
