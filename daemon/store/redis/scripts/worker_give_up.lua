#!lua flags=allow-oom
-- Gives up a process, a piece at a time: its lease, what it ran, and what it followed.
-- KEYS[1] P
-- ARGV  1 clock  2 INC of the caller  3 INC to give up  4 "dead": its lease has to be over, and its
--       jobs have seen a worker die; "left": it says so itself, which counts as nothing
--       5 most jobs and most streams of one call  6 finished jobs of a queue  7 bytes of an outcome
--       that is told  8 crashes at which a job is dead  9 its Outcome then, serialized  10 what an
--       AttemptError says of a crash
-- Returns nil when there is nothing of it, or its lease is not over. Else {counts, more, entry,
-- requeued, ended, readers, in}: whether to call again, what P workers had of it if this call ended the
-- lease, how many jobs were queued again, those that have ended (record, spec, outcome, progress),
-- the ids of the caller's own jobs that were followed there, and the milliseconds until the first time
-- of those queued again (-1: none).
-- One script, because a job must be queued again by one caller only.
local now, self, inc, most = now_us(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[5])
local dies = ARGV[4] == 'dead'
local held, dead, follows = P .. 'held:' .. inc, P .. 'dead:' .. inc, P .. 'follows:' .. inc
if dies then
  local ends = call('ZSCORE', P .. 'leases', inc)
  if not ends or tonumber(ends) > now then return false end
end
local entry = call('HGET', P .. 'workers', inc) or ''
call('HDEL', P .. 'workers', inc)
call('HDEL', P .. 'idle', inc)

-- While a suspect ran there, the death is its alone (crash_policy.h), and that has to be known before
-- the first job is queued again. In field '' of P dead: "yes", "no", or how far the search has come.
local DEAD_MS, LOOKED_AT = 3600 * 1000, 1000
local function suspect_ran()
  local known = call('HGET', dead, '') or '0'
  if known == 'yes' or known == 'no' then return known end
  local page = call('SSCAN', held, known, 'COUNT', LOOKED_AT)
  known = page[1] == '0' and 'no' or page[1]
  for _, id in ipairs(page[2]) do
    local record = stored(id)
    if record and unpack_job(record).crashes >= SUSPECT then known = 'yes' end
  end
  call('HSET', dead, '', known)
  call('PEXPIRE', dead, DEAD_MS)
  return known
end
local suspect = dies and call('EXISTS', held) == 1 and suspect_ran() or 'no'
if suspect ~= 'yes' and suspect ~= 'no' then return {all_counts(), 1, entry, 0, {}, {}, -1} end

local requeued, types, ended, followed, ran = 0, {}, {}, {}, {}
for _, id in ipairs(call('SPOP', held, most)) do
  local record = stored(id)
  local j = record and unpack_job(record)
  if j and j.state == RUNNING and hex(j.worker) == inc then ran[#ran + 1] = {id, j} end
end
-- As when they are handed back.
table.sort(ran, function(a, b) return place_of(a[2]) > place_of(b[2]) end)
for _, job in ipairs(ran) do
  local id, j = job[1], job[2]
  count('running', -1)
  j.worker = NOBODY
  if dies then
    local counts = suspect == 'no' or j.crashes >= SUSPECT
    if counts then j.crashes = j.crashes + 1 end
    call('HSET', dead, id, counts and j.attempt or -j.attempt)
    add_error(id, attempt_error(j.attempt, j.start, now, j.name, ARGV[10]))
    j.flags = with(j.flags, ERRORS)
  end
  local outcome = nil
  if has(j.flags, CANCEL) then
    j.state, outcome = CANCELLED, cancelled_outcome(j.reason)
  elseif dies and j.crashes >= tonumber(ARGV[8]) then
    j.state, outcome = DEAD, ARGV[9]
  end
  if outcome then
    j.finish = now
    local spec, progress = spec_of(id), call('HGET', P .. 'progress', id)
    local record = end_job(id, j, outcome, tonumber(ARGV[6]), tonumber(ARGV[7]), self)
    ended[#ended + 1] = {record, spec, outcome, progress}
  else
    j.state = QUEUED
    store(id, pack_job(j))
    enqueue(id, j)
    enter_times(id, j)
    requeued = requeued + 1
    types[j.type] = (types[j.type] or 0) + 1
  end
end
-- As many are woken as there are jobs: each takes more if there is more.
for type, jobs in pairs(types) do
  while jobs > 0 and wake(type, self) do jobs = jobs - 1 end
end

local raw = string.gsub(inc, '..', function(two) return string.char(tonumber(two, 16)) end)
local nobody = pack('>c16I4I4I8I8', raw, 0, 0, 0, 0)
for _, id in ipairs(call('SPOP', follows, most)) do
  local entries = call('HGET', P .. 'watch', id) or ''
  local kept = {}
  for at = 1, #entries, 48 do
    if sub(entries, at, at + 15) ~= raw then kept[#kept + 1] = sub(entries, at, at + 47) end
  end
  if #kept == 0 then
    call('HDEL', P .. 'watch', id)
  else
    call('HSET', P .. 'watch', id, table.concat(kept))
  end
  local record = stored(id)
  local j = record and unpack_job(record)
  if j and j.state == RUNNING then
    local worker = hex(j.worker)
    if worker == self then followed[#followed + 1] = id else publish(worker, 'R', id, nobody .. pack('>I8', j.attempt)) end
  end
end

local more = call('EXISTS', held, follows)
if more == 0 then
  call('ZREM', P .. 'leases', inc)
  call('DEL', P .. 'took:' .. inc)
end
return {all_counts(), more, entry, requeued, ended, followed, until_earliest(now)}
