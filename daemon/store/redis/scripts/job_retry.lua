#!lua
-- A dead job is QUEUED again, as if it had never crashed or ended.
-- KEYS[1] P
-- ARGV  1 job id  2 most queued jobs of a queue  3 INC of the caller
-- Returns {record, spec, progress}, {state} when that is not DEAD, {-1} when its queue is full, or
-- nil when there is no such job.
-- One script, because record, lane and counters have to change together.
local id = ARGV[1]
local record = redis.call('HGET', P .. 'job', id)
if not record then return false end
local j = unpack_job(record)
if j.state ~= DEAD then return {j.state} end
local queued = redis.call('HGET', P .. 'count', 'q:' .. j.queue)
if tonumber(queued or 0) >= tonumber(ARGV[2]) then return {-1} end
leave_finished(id, j)
j.state, j.finish, j.crashes, j.worker = QUEUED, 0, 0, string.rep('\0', 16)
record = pack_job(j)
redis.call('HSET', P .. 'job', id, record)
redis.call('HDEL', P .. 'outcome', id)
enqueue(id, j)
tell_all(followers({id}, ARGV[3])[id], 'r', id,
  struct.pack('>I4', #record) .. record .. struct.pack('>I4', 0))
wake(j.type, ARGV[3])
return {record, redis.call('HGET', P .. 'spec', id), redis.call('HGET', P .. 'progress', id)}
