#!lua flags=no-writes
-- Schedules by name.
-- KEYS[1] P
-- ARGV  1 only those after this name  2 most of them; 0: the one of this very name
-- Returns for each: name, version, v1.Schedule.
local names = {ARGV[1]}
if ARGV[2] ~= '0' then
  names = call('ZRANGEBYLEX', P .. 'schedule_names', '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])
end
local answer = {}
for _, name in ipairs(names) do
  local version = call('HGET', P .. 'schedule_versions', name)
  if version then
    answer[#answer + 1] = name
    answer[#answer + 1] = version
    answer[#answer + 1] = call('HGET', P .. 'schedule', name)
  end
end
return answer
