#!lua flags=allow-oom
-- Forgets a schedule if the version that is there is the one expected.
-- KEYS[1] P
-- ARGV  1 name  2 expected version; 0: any
-- Returns 1; 0 when another version is there; -1 when there is none.
-- One script, because it compares before it writes.
local name = ARGV[1]
local version = call('HGET', P .. 'schedule_versions', name)
if not version then return -1 end
if ARGV[2] ~= '0' and version ~= ARGV[2] then return 0 end
call('HDEL', P .. 'schedule_versions', name)
call('HDEL', P .. 'schedule', name)
call('ZREM', P .. 'schedule_names', name)
call('ZREM', P .. 'schedule_wake', name)
return 1
