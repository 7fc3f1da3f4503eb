#!lua flags=allow-oom
-- Hands jobs back as QUEUED, at the front of their lanes; a job that is to be cancelled ends.
-- KEYS[1] P
-- ARGV  1 clock  2 INC of the caller  3 finished jobs of a queue  4 bytes of an outcome that is told
--       then for each job its id and token (worker, attempt as ">I4")
-- Returns {counts, a letter for each job, those that ended, milliseconds until the first time of those
--       that wait now (-1: none)}. Letters: q queued, c cancelled, s stale. For each that ended:
--       record, spec, outcome, progress.
-- One script, because record, lane and counters have to change together.
local now, self = now_us(ARGV[1]), ARGV[2]
local letters, released, seen = {}, {}, {}
for at = 5, #ARGV, 2 do
  local id, token = ARGV[at], ARGV[at + 1]
  local record = stored(id)
  if seen[id] or not record or byte(record) ~= RUNNING or sub(record, 12, 31) ~= token then
    letters[#letters + 1] = 's'
  else
    local j = unpack_job(record)
    letters[#letters + 1] = has(j.flags, CANCEL) and 'c' or 'q'
    released[#released + 1] = {id, j}
    seen[id] = true
  end
end
-- The last first to the front, so that the first stands there.
table.sort(released, function(a, b) return place_of(a[2]) > place_of(b[2]) end)
local ended, types = {}, {}
for _, its in ipairs(released) do
  local id, j = its[1], its[2]
  call('SREM', P .. 'held:' .. hex(j.worker), id)
  count('running', -1)
  j.worker = NOBODY
  if has(j.flags, CANCEL) then
    j.state, j.finish = CANCELLED, now
    local spec, progress = spec_of(id), call('HGET', P .. 'progress', id)
    local outcome = cancelled_outcome(j.reason)
    local record = end_job(id, j, outcome, tonumber(ARGV[3]), tonumber(ARGV[4]), self)
    ended[#ended + 1] = {record, spec, outcome, progress}
  else
    j.state = QUEUED
    store(id, pack_job(j))
    enqueue(id, j)
    enter_times(id, j)
    types[j.type] = true
  end
end
for type in pairs(types) do wake(type, self) end
return {all_counts(), table.concat(letters), ended, until_earliest(now)}
