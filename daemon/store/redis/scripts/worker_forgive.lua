#!lua flags=allow-oom
-- A process that was given up is alive: its jobs have not seen a worker die.
-- KEYS[1] P
-- ARGV  1 INC that was given up  2 most jobs of one call
-- Returns how many are left to forgive.
-- One script, because a job that is a suspect no more stands in another lane.
local dead = P .. 'dead:' .. ARGV[1]
call('HDEL', dead, '')
local counted = call('HRANDFIELD', dead, ARGV[2])
for _, id in ipairs(counted) do
  call('HDEL', dead, id)
  local record = stored(id)
  local j = record and unpack_job(record)
  -- Since then it may have ended, which stays so, or been forgiven all by a retry.
  if j and j.crashes > 0 and (j.state == QUEUED or j.state == RUNNING) then
    local was = j.crashes >= SUSPECT and 'x' or ''
    j.crashes = j.crashes - 1
    store(id, pack_job(j))
    if j.state == RUNNING then touch(id) end
    if j.state == QUEUED and was == 'x' and j.crashes < SUSPECT then
      call('LREM', P .. 'xlane:' .. j.queue .. ':' .. j.type, 1, pack('>I8', j.age) .. id)
      leave_waiting('x', j.queue, j.type, 1)
      enqueue(id, j)
    end
  end
end
all_counts()
return call('HLEN', dead)
