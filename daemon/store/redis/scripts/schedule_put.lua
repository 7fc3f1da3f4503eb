#!lua
-- Stores a schedule if the version that is there is the one expected.
-- KEYS[1] P
-- ARGV  1 name  2 expected version; 0: there is none  3 the millisecond in which it is due; empty:
--       never  4 v1.Schedule, serialized  5 most schedules
-- Returns its new version; 0 when another one is there; -1 when there is none; -2 when there are too
--       many.
-- One script, because it compares before it writes.
local name, expected, wake = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local version = tonumber(call('HGET', P .. 'schedule_versions', name) or 0)
if version ~= expected then return version == 0 and -1 or 0 end
if version == 0 and call('HLEN', P .. 'schedule_versions') >= tonumber(ARGV[5]) then return -2 end
version = call('INCR', P .. 'schedule_version')
call('HSET', P .. 'schedule_versions', name, version)
call('HSET', P .. 'schedule', name, ARGV[4])
call('ZADD', P .. 'schedule_names', 0, name)
if wake == '' then
  call('ZREM', P .. 'schedule_wake', name)
else
  call('ZADD', P .. 'schedule_wake', wake, name)
end
return version
