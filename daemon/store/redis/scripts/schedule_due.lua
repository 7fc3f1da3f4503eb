#!lua flags=no-writes
-- The schedules that are due, those first that have been for the longest time.
-- KEYS[1] P
-- ARGV  1 clock  2 most of them
-- Returns {now in milliseconds, how many schedules there are, the millisecond of the next one that is
-- not among these or '', then for each: name, version, v1.Schedule}.
local now, most, key = math.floor(now_us(ARGV[1]) / 1000), tonumber(ARGV[2]), P .. 'schedule_wake'
local names = {}
if most > 0 then names = call('ZRANGEBYSCORE', key, '-inf', text(now), 'LIMIT', 0, most) end
local next = call('ZRANGE', key, #names, #names, 'WITHSCORES')[2] or ''
local answer = {now, call('ZCARD', P .. 'schedule_names'), next}
for _, name in ipairs(names) do
  answer[#answer + 1] = name
  answer[#answer + 1] = call('HGET', P .. 'schedule_versions', name)
  answer[#answer + 1] = call('HGET', P .. 'schedule', name)
end
return answer
