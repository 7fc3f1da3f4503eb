#!lua flags=allow-oom
-- Makes the lease of a process last, or begins it, and tells which leases end soon.
-- KEYS[1] P
-- ARGV  1 clock  2 INC  3 its lease in microseconds  4 its v1.Worker, serialized; empty: as before
--       5 "begin", or "" for a lease that has to be there  6 "soon", in microseconds
--       7 most processes
-- Returns {0} when the lease is gone: another process has given this one up; {-1} when there are too
-- many processes. Else {1, now, counts, INC, end, ...}: other processes whose leases end within
--       `soon`.
-- One script, because a process that was given up must not come back by a late renewal.
local MOST = 100
local now, inc, about = now_us(ARGV[1]), ARGV[2], ARGV[4]
local entry = call('HGET', P .. 'workers', inc)
if not entry then
  if ARGV[5] ~= 'begin' then return {0} end
  if call('HLEN', P .. 'workers') >= tonumber(ARGV[7]) then return {-1} end
end
if about == '' and entry then about = string.match(entry, '^%d+ (.*)$') end
call('HSET', P .. 'workers', inc, text(now) .. ' ' .. about)
call('ZADD', P .. 'leases', text(now + ARGV[3]), inc)
local soon = call('ZRANGEBYSCORE', P .. 'leases', '-inf', text(now + ARGV[6]), 'WITHSCORES',
  'LIMIT', 0, MOST)
local answer = {1, now, all_counts()}
for i = 1, #soon, 2 do
  if soon[i] ~= inc then
    answer[#answer + 1] = soon[i]
    answer[#answer + 1] = tonumber(soon[i + 1])
  end
end
return answer
