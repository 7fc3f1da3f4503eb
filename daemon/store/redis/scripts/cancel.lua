#!lua flags=allow-oom
-- Ends a job that nobody runs, or flags a running one.
-- KEYS[1] P
-- ARGV  1 clock  2 INC of the caller  3 job id  4 reason  5 finished jobs of a queue  6 bytes of an
--       outcome that is told
-- Returns nil when there is no such job, or {counts, letter, state} with the letter c cancelled, r
--       flagged now, f flagged before, a ended before; after c also record, spec, outcome, progress.
-- One script, because the first of cancel and settle wins.

-- The entry of a job that does not wait any more stays in its lane, as to find it takes long. One of
-- a thousand times, while they are many, those around it are looked at, and dead ones dropped: who
-- takes then meets few, and no call does much.
local EVERY, AROUND = 1000, 2000
local function tidy_around(x, j)
  local lane = P .. x .. 'lane:' .. j.queue .. ':' .. j.type
  local live = tonumber(call('HGET', P .. x .. 'lanes:' .. j.queue, j.type) or 0)
  local length = call('LLEN', lane)
  local dead = length - live
  if dead == 0 or dead % EVERY > 0 or 2 * dead < live then return end
  local from = math.max(0, place_in(lane, place_of(j)) - AROUND)
  drop_dead(lane, length, from, from + 2 * AROUND - 1, is_queued)
end

local now, self, id, reason = now_us(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local record = stored(id)
if not record then return false end
local j = unpack_job(record)
if j.state < RUNNING then
  local x, queued = j.crashes >= SUSPECT and 'x' or '', j.state == QUEUED
  leave_times(id, j)
  if queued then leave_waiting(x, j.queue, j.type, 1) else add_scheduled(j.queue, -1) end
  j.state, j.finish, j.due = CANCELLED, now, 0
  j.flags, j.reason = with(j.flags, CANCEL), reason
  local spec, progress = spec_of(id), call('HGET', P .. 'progress', id)
  local outcome = cancelled_outcome(reason)
  record = end_job(id, j, outcome, tonumber(ARGV[5]), tonumber(ARGV[6]), self)
  if queued then tidy_around(x, j) end
  return {all_counts(), 'c', j.state, record, spec, outcome, progress}
end
if j.state ~= RUNNING then return {all_counts(), 'a', j.state} end
if has(j.flags, CANCEL) then return {all_counts(), 'f', j.state} end
j.flags, j.reason = with(j.flags, CANCEL), reason
store(id, pack_job(j))
touch(id)
local worker = hex(j.worker)
if worker ~= self then publish(worker, 'c', id, reason) end
return {all_counts(), 'r', j.state}
