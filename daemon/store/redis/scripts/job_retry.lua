#!lua
-- A dead job is QUEUED again, as if it had never crashed or ended.
-- KEYS[1] P
-- ARGV  1 job id  2 most queued jobs of a queue  3 INC of the caller
-- Returns {counts, record, spec, progress}, {counts, state} when that is not DEAD, {counts, -1, its
-- queue} when that is full, or nil when there is no such job.
-- One script, because record, lane and counters have to change together.
local id = ARGV[1]
local record = stored(id)
if not record then return false end
local j = unpack_job(record)
if j.state ~= DEAD then return {all_counts(), j.state} end
local queued = call('HGET', P .. 'count', 'q:' .. j.queue)
if tonumber(queued or 0) >= tonumber(ARGV[2]) then return {all_counts(), -1, j.queue} end
leave_finished(j.queue, {call('HGET', P .. 'spec', id)}, {record})
j.state, j.finish, j.crashes, j.worker, j.consumed = QUEUED, 0, 0, NOBODY, 0
j.flags, j.reason = without(without(j.flags, OUTCOME), CANCEL), ''
record = pack_job(j)
store(id, record)
call('HDEL', P .. 'outcome', id)
enqueue(id, j)
tell_all(followers({id}, ARGV[3])[id], 'r', id, pack('>I4', #record) .. record .. pack('>I4', 0))
wake(j.type, ARGV[3])
return {all_counts(), record, spec_of(id), call('HGET', P .. 'progress', id)}
