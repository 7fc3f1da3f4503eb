#!lua flags=no-writes
-- The kept values sent to a job.
-- KEYS[1] P
-- ARGV  1 job id  2 only those with higher numbers
-- Returns {number, value, ...}, oldest first, or nil when there is no such job.
-- One script, so that a job that goes meanwhile is not half there.
local id = ARGV[1]
if call('HEXISTS', P .. 'spec', id) == 0 then return false end
local answer = {}
local from = '(' .. ARGV[2] .. '-0'
for _, entry in ipairs(call('XRANGE', P .. 'sends:' .. id, from, '+')) do
  answer[#answer + 1] = tonumber(string.match(entry[1], '^%d+'))
  answer[#answer + 1] = entry[2][6]
end
return answer
