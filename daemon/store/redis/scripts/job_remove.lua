#!lua flags=allow-oom
-- Forgets a finished job: all but its idempotency key.
-- KEYS[1] P
-- ARGV  1 job id  2 INC of the caller
-- Returns {counts, 0, or its state when it has not ended}, or nil when there is no such job.
-- One script, because everything of a job goes together.
local id = ARGV[1]
local record = stored(id)
if not record then return false end
local state = byte(record)
if state < SUCCEEDED then return {all_counts(), state} end
local j = unpack_job(record)
local spec = call('HGET', P .. 'spec', id)
leave_finished(j.queue, {spec}, {record})
forget(j.queue, {id}, {spec}, {changing(record)})
tell_all(followers({id}, ARGV[2])[id], 'x', id, '')
return {all_counts(), 0}
