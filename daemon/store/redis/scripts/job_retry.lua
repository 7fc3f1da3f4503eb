#!lua
-- A dead job is QUEUED again, as if it had never failed, crashed or ended, but for its errors.
-- KEYS[1] P
-- ARGV  1 job id  2 most queued jobs of a queue  3 INC of the caller  4 clock
-- Returns {counts, record, spec, progress, milliseconds until its time is over (-1: never)}, {counts,
-- state} when that is not DEAD, {counts, -1, its queue} when that is full, {counts, -2} when its
-- expire_at has passed, or nil when there is no such job.
-- One script, because record, lane and counters have to change together.
local id, now = ARGV[1], now_us(ARGV[4])
local record = stored(id)
if not record then return false end
local j = unpack_job(record)
if j.state ~= DEAD then return {all_counts(), j.state} end
if j.expire > 0 and 1000 * math.floor(now / 1000) >= j.expire then return {all_counts(), -2} end
local queued = call('HGET', P .. 'count', 'q:' .. j.queue)
if tonumber(queued or 0) >= tonumber(ARGV[2]) then return {all_counts(), -1, j.queue} end
leave_finished(j.queue, {call('HGET', P .. 'spec', id)}, {record})
j.state, j.finish, j.crashes, j.worker, j.consumed = QUEUED, 0, 0, NOBODY, 0
j.failures, j.snoozes, j.deadline = 0, 0, j.timeout > 0 and now + j.timeout or 0
j.flags, j.reason = without(without(j.flags, OUTCOME), CANCEL), ''
record = pack_job(j)
store(id, record)
call('HDEL', P .. 'outcome', id)
enqueue(id, j)
enter_times(id, j)
tell_all(followers({id}, ARGV[3])[id], 'r', id, pack('>I4', #record) .. record .. pack('>I4', 0))
wake(j.type, ARGV[3])
return {all_counts(), record, spec_of(id), call('HGET', P .. 'progress', id), until_earliest(now)}
