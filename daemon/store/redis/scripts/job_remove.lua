#!lua flags=allow-oom
-- Forgets a finished job: all but its idempotency key.
-- KEYS[1] P
-- ARGV  1 job id  2 INC of the caller  3 offset of the clock
-- Returns 0, its state when it has not ended, or nil when there is no such job.
-- One script, because everything of a job goes together.
local id = ARGV[1]
local record = redis.call('HGET', P .. 'job', id)
if not record then return false end
local j = unpack_job(record)
if j.state < SUCCEEDED then return j.state end
leave_finished(id, j)
forget(id, j, now_us(ARGV[3]))
tell_all(followers({id}, ARGV[2])[id], 'x', id)
return 0
