#!lua flags=allow-oom
-- A process that was given up is alive: its jobs have not seen a worker die.
-- KEYS[1] P
-- ARGV  1 INC that was given up  2 most jobs of one call  3 what an AttemptError says of a crash
-- Returns how many are left to forgive.
-- One script, because a job that is a suspect no more stands in another lane.
local dead = P .. 'dead:' .. ARGV[1]
local crash = ARGV[3]

-- No such attempt has crashed: one of its errors may say so.
local function drop_error(id, j, attempt)
  if not has(j.flags, ERRORS) then return end
  local errors, begin = P .. 'errors:' .. id, '\8' .. varint(attempt) .. '\18'
  for _, err in ipairs(call('LRANGE', errors, 0, -1)) do
    if sub(err, 1, #begin) == begin and sub(err, -#crash) == crash then call('LREM', errors, -1, err) end
  end
end
call('HDEL', dead, '')
local crashed = call('HRANDFIELD', dead, ARGV[2], 'WITHVALUES')
for i = 1, #crashed, 2 do
  local id, attempt = crashed[i], tonumber(crashed[i + 1])
  call('HDEL', dead, id)
  local record = stored(id)
  local j = record and unpack_job(record)
  if j then drop_error(id, j, math.abs(attempt)) end
  -- Since then it may have ended, which stays so, or been forgiven all by a retry.
  if j and attempt > 0 and j.crashes > 0 and j.state <= RUNNING then
    local was = j.crashes >= SUSPECT and 'x' or ''
    j.crashes = j.crashes - 1
    store(id, pack_job(j))
    if j.state == RUNNING then touch(id) end
    if j.state == QUEUED and was == 'x' and j.crashes < SUSPECT then
      call('LREM', P .. 'xlane:' .. j.queue .. ':' .. j.type, 1, pack('>I8', place_of(j)) .. id)
      leave_waiting('x', j.queue, j.type, 1)
      enqueue(id, j)
    end
  end
end
all_counts()
return call('HLEN', dead)
