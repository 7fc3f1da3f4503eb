-- Begins every script (the build joins the files; a script's first line is its shebang with flags).
--
-- All keys of a shard begin with KEYS[1], "{PREFIX:00}:", called P here, so that they share one
-- hash slot. INC is a process's incarnation: 16 bytes as 32 hex digits.
--   P layout            string  the version of all this: a daemon of another one does not start
--   P spec              hash    job id -> what never changes: age, submit, keep, each as ">I8", flags
--                               (LARGE, TIMED), idempotency key, queue, type, each preceded by a
--                               length byte, with TIMED expire_at and total_timeout in microseconds,
--                               each as ">I8" (0: none), then the serialized JobSpec, without its
--                               payload when that is large
--   P job               hash    job id -> what does (below); none while a new job is QUEUED
--   P again             set     ids of QUEUED jobs that have one
--   P payload           hash    job id -> a large payload
--   P errors:ID         list    serialized AttemptErrors, oldest first
--   P outcome           hash    job id -> serialized Outcome of a finished job; none when it is empty
--   P progress          hash    job id -> serialized Progress
--   P age               string  the last age given
--   P ages              zset    numbers of the blocks of 256 ages that still have jobs; the score is
--                               the number: List goes through them from the newest
--   P ages:BLOCK        list    their ids, by age; those of jobs that are gone, or have another age
--                               now, are skipped
--   P live              hash    block -> its jobs
--   P turns, P xturns   list    names of queues with jobs queued, in turn (x: of suspects)
--   P lanes:QUEUE       hash    type -> jobs queued (P xlanes:QUEUE)
--   P lane:QUEUE:TYPE   list    entries, oldest first (P xlane:QUEUE:TYPE): as ">I8" the age, or
--                               the place of a job that was SCHEDULED, which is as if it had come
--                               then; then the id. An entry whose record is not queued any more, or
--                               has another place, is skipped and counts nowhere; a lane without
--                               live entries is deleted
--   P due, P over       zset    SCHEDULED jobs by the millisecond they are due; waiting jobs by the
--                               one when their time is over: the age as ">I8", then the id
--   P types             hash    type -> jobs queued that are no suspects
--   P totals            string  kept counters, each as ">I8": queued, running, finished, succeeded,
--                               dead, cancelled, suspect (those queued), removed, scheduled, expired
--   P count             hash    q:QUEUE -> jobs queued or SCHEDULED, f:QUEUE -> jobs finished
--   P held:INC          set     ids: what a process runs (a small hash would be searched for each)
--   P touched           set     ids of running jobs whose records are not as their workers got them
--   P took:INC          string  the last take_seq and the ids that take got, with spaces between
--   P workers           hash    INC -> beat in microseconds, a space, serialized v1.Worker. Without
--                               an entry here a process has no lease
--   P leases            zset    INC by the microsecond its lease ends; also those given up, for as long
--                               as there is something of theirs
--   P dead:INC          hash    job id -> the attempt that crashed with a process given up, negative
--                               if that did not count, and '' -> whether it ran a suspect; 1 hour
--   P fate:ID           hash    record and outcome of a job with retention 0 that was to end in
--                               another way, with its worker still in the record; 1 hour
--   P foreign           hash    type of queued jobs that no live process has a handler for -> since
--                               which microsecond, and '' -> when somebody has looked
--   P idle              hash    INC -> its types, each between newlines (empty: any): it waits for
--                               work, and whoever brings some removes it and publishes "w" to it
--   P watch             hash    job id -> who follows its stream: 48 bytes each, ">c16I4I4I8I8" of
--                               incarnation, passive, attached, credit, cursor, padded
--   P follows:INC       set     the ids it has in `watch`
--   P done:QUEUE        list    of jobs as they finished: when, as ">I8", then the id; those of jobs
--                               that are gone, or have not ended then, are skipped
--   P expire            zset    SECOND:QUEUE by that second: finished jobs to be forgotten then
--   P expire:SECOND:QUEUE  list their ids; skipped in the same way
--   P expiring          hash    SECOND:QUEUE -> its jobs
--   P key               hash    QUEUE, newline, idempotency key -> fingerprint (16 bytes), the
--                               millisecond it is forgotten as ">I8" (0: when P keys says so, once its
--                               job is gone), job id
--   P keys              zset    seconds in which keys are forgotten; the score is the second
--   P keys:SECOND       list    for each the millisecond as ">I8", a length byte and the id of its job,
--                               its name; one whose key is another job's is skipped
--   P schedule          hash    name of a schedule -> v1.Schedule, serialized
--   P schedule_versions hash    name -> its version, of P schedule_version, which is the last given
--   P schedule_names    zset    all names, of score 0
--   P schedule_wake     zset    name by the millisecond in which it is to be looked at
--   P chunks:ID         stream  entry id LAST-0, where LAST is the last sequence of its block:
--                               "b" -> block: ">I8BI4" of first sequence, kind, count, then count
--                               ends as "<I4" and the bytes
--   P sends:ID          stream  entry id NUMBER-0: "s" sender, "n" sender's number, "v" value
--   P sender:ID         zset    all of score 0, for each of those with a sender: a byte with its
--                               length, the sender, its number and the number that got as ">I8"
--
-- News for one process are published to P d:INC (a channel): a letter, a byte with the length of the
-- job's id, the id, and
--   w nothing: there is work            c the reason: cancel it     s ">I8" number, value: a send
--   e a block, as stored: entries       n ">I8": stored up to       f record, outcome: finished
--   p a Progress                        r record: retried           x nothing: removed
--   R 48 bytes as in watch, the last 8 the attempt they are for: readers
--                                       D ">I8": its readers below that are given up
-- (record and outcome are each preceded by ">I4", their length; a length of 0: ask for it.)
--
-- Lua here hashes every byte of every string, and each value written goes to the append-only file. So
-- what changes is short, and the same for all jobs that a worker took together: state, finish, flags,
-- crashes, worker, attempt, start (39 bytes, the beginning of HEAD); if the flag MORE is set,
-- consumed, first, last, from, send and, preceded by its length as ">I2", the cancel reason; if the
-- flag TIMES is set, due, place, deadline, failures and snoozes; then the worker's name. Scripts that are called for every job cut it by position, for a table costs more
-- than all they do with it. The others use the record of a job, stored() and store(): HEAD by struct,
-- of which expire and timeout are those of P spec, then idempotency key, cancel reason, queue, type, each preceded by a length byte (the reason by
-- ">I2"), then the worker's name.
local P = KEYS[1]
local HEAD = '>BI8BBc16I4I8I8I8I8I8I8I8I8I8I8I8I8I4I4I8I8'
local TAIL = 'Bc0I2c0Bc0Bc0'
local SCHEDULED, QUEUED, RUNNING, SUCCEEDED, DEAD, CANCELLED, EXPIRED = 1, 2, 3, 4, 5, 6, 7
-- Bits of flags: an end was asked for; payload, progress, outcome and errors have fields or lists of
-- their own. In P spec: the job has an expire_at or a total_timeout.
local CANCEL, LARGE, PROGRESS, OUTCOME, MORE, TIMES, ERRORS = 1, 2, 4, 8, 16, 32, 64
local TIMED = 32
local NOBODY, ZERO = string.rep('\0', 16), string.rep('\0', 8)

local KEY_MS = 24 * 3600 * 1000  -- an idempotency key is kept at least so long
local BLOCK = 256   -- ages of one list
local TRIM = 2      -- surplus jobs forgotten for each that finishes
local SUSPECT = 3   -- crashes that make a job one
local ERRORS_KEPT = 100  -- of earlier attempts of a job
local call, sub, byte, pack, unpack_struct =
  redis.call, string.sub, string.byte, struct.pack, struct.unpack

-- The record as a table. Times are microseconds; worker: of the attempt that runs or settled (16
-- bytes); from: where the running attempt's entries begin (attempt_sequence); keep: retention in
-- milliseconds; due: of a SCHEDULED one; place: 0 for the age; deadline: 0 for submit + timeout.
local function unpack_job(record)
  local j, at = {}, nil
  j.state, j.finish, j.flags, j.crashes, j.worker, j.attempt, j.start, j.consumed, j.age, j.submit,
    j.keep, j.first, j.last, j.from, j.send, j.due, j.place, j.deadline, j.failures, j.snoozes,
    j.expire, j.timeout, at = unpack_struct(HEAD, record)
  j.key, j.reason, j.queue, j.type, at = unpack_struct('>' .. TAIL, record, at)
  j.name = sub(record, at)
  return j
end
local function pack_job(j)
  return pack(HEAD .. TAIL, j.state, j.finish, j.flags, j.crashes, j.worker, j.attempt, j.start,
    j.consumed, j.age, j.submit, j.keep, j.first, j.last, j.from, j.send, j.due, j.place, j.deadline,
    j.failures, j.snoozes, j.expire, j.timeout, #j.key, j.key, #j.reason, j.reason, #j.queue, j.queue,
    #j.type, j.type) .. j.name
end
local function has(flags, bit) return flags % (2 * bit) >= bit end
local function with(flags, bit) return has(flags, bit) and flags or flags + bit end
local function without(flags, bit) return has(flags, bit) and flags - bit or flags end

-- What MORE and TIMES are without the flag, and as they stand in a record.
local NO_MORE = ZERO .. pack('>I8', 1) .. ZERO .. ZERO .. ZERO .. '\0\0'
local NO_TIMES = string.rep(ZERO, 4)
-- Where what P job has from TIMES on begins.
local function times_at(job)
  return has(byte(job, 10), MORE) and 82 + unpack_struct('>I2', job, 80) or 40
end
-- A job of P spec and P job (false: it is new).
local function whole(spec, job)
  local key_end = 26 + byte(spec, 26)
  local queue_end = key_end + 1 + byte(spec, key_end + 1)
  local type_end = queue_end + 1 + byte(spec, queue_end + 1)
  local ends = has(byte(spec, 25), TIMED) and sub(spec, type_end + 1, type_end + 16) or ZERO .. ZERO
  if not job then
    job = string.char(QUEUED) .. ZERO .. string.char(without(byte(spec, 25), TIMED)) ..
      string.rep('\0', 29)
  end
  local flags, at, more, times = byte(job, 10), times_at(job), NO_MORE, NO_TIMES
  if at > 40 then more = sub(job, 40, at - 1) end
  if has(flags, TIMES) then
    times = sub(job, at, at + 31)
    at = at + 32
  end
  return sub(job, 1, 9) .. string.char(without(without(flags, MORE), TIMES)) .. sub(job, 11, 39) ..
    sub(more, 1, 8) .. sub(spec, 1, 24) .. sub(more, 9, 40) .. times .. ends ..
    sub(spec, 26, key_end) .. sub(more, 41) .. sub(spec, key_end + 1, type_end) .. sub(job, at)
end
-- What P job has of a record.
local function changing(record)
  local reason_at = 153 + byte(record, 152)
  local queue_at = reason_at + 2 + unpack_struct('>I2', record, reason_at)
  local type_at = queue_at + 1 + byte(record, queue_at)
  local name = sub(record, type_at + 1 + byte(record, type_at))
  local more = sub(record, 40, 47) .. sub(record, 72, 103) .. sub(record, reason_at, queue_at - 1)
  local times, flags = sub(record, 104, 135), byte(record, 10)
  if more == NO_MORE then more = '' else flags = flags + MORE end
  if times == NO_TIMES then times = '' else flags = flags + TIMES end
  return sub(record, 1, 9) .. string.char(flags) .. sub(record, 11, 39) .. more .. times .. name
end
-- The record of a job, or false.
local function stored(id)
  local spec = call('HGET', P .. 'spec', id)
  return spec and whole(spec, call('HGET', P .. 'job', id))
end
local function store(id, record)
  call('HSET', P .. 'job', id, changing(record))
  if byte(record) == QUEUED then call('SADD', P .. 'again', id) end
end
-- The serialized JobSpec in what P spec has.
local function only_spec(spec)
  local queue_at = 27 + byte(spec, 26)
  local type_at = queue_at + 1 + byte(spec, queue_at)
  local ends = has(byte(spec, 25), TIMED) and 16 or 0
  return sub(spec, type_at + 1 + byte(spec, type_at) + ends)
end
local function spec_of(id) return only_spec(call('HGET', P .. 'spec', id)) end

-- Microseconds. `clock` is the time itself on a clock of tests, and '0' elsewhere.
local function now_us(clock)
  clock = tonumber(clock)
  if clock ~= 0 then return clock end
  local time = call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Kept counters. Those of all queues are read once and written in the end, together.
local totals, changed = nil, false
local function load_totals()
  local stored = call('GET', P .. 'totals') or string.rep(ZERO, 10)
  totals = {}
  totals.queued, totals.running, totals.finished, totals.succeeded, totals.dead, totals.cancelled,
    totals.suspect, totals.removed, totals.scheduled, totals.expired =
    unpack_struct('>I8I8I8I8I8I8I8I8I8I8', stored)
end
local function total(name)
  if not totals then load_totals() end
  return totals[name]
end
local function count(name, by)
  local now = total(name) + by
  totals[name] = now
  changed = true
end
-- Of one queue: what is left. A counter that is 0 takes no room.
local function count_queue(name, by)
  local left = call('HINCRBY', P .. 'count', name, by)
  if left == 0 then call('HDEL', P .. 'count', name) end
  return left
end
-- What stats() shows: a part of what is answered, and the end of every script that counts.
local function all_counts()
  if not changed then return call('GET', P .. 'totals') or string.rep(ZERO, 10) end
  local packed = pack('>I8I8I8I8I8I8I8I8I8I8', totals.queued, totals.running, totals.finished,
    totals.succeeded, totals.dead, totals.cancelled, totals.suspect, totals.removed, totals.scheduled,
    totals.expired)
  call('SET', P .. 'totals', packed)
  changed = false
  return packed
end

local function hex(incarnation)
  return (string.gsub(incarnation, '.', function(c) return string.format('%02x', byte(c)) end))
end
-- One piece of news for one process. Returns how many have received it; 0 when the user may not: a
-- script that ended here would leave half of what it does.
local function publish(inc, letter, id, body)
  local got = redis.pcall('PUBLISH', P .. 'd:' .. inc, letter .. string.char(#id) .. id .. body)
  return type(got) == 'number' and got or 0
end
-- The same to each of several; nil: nobody.
local function tell_all(incs, letter, id, body)
  for _, inc in ipairs(incs or {}) do publish(inc, letter, id, body) end
end

-- What P watch has of some jobs, at most 4000: id -> entries. Most jobs have none.
local watched = nil
local function watches(ids)
  if watched == nil then watched = call('EXISTS', P .. 'watch') == 1 end
  local found = {}
  if #ids == 0 or not watched then return found end
  for i, entries in ipairs(call('HMGET', P .. 'watch', unpack(ids))) do
    if entries then found[ids[i]] = entries end
  end
  return found
end
-- Who follows the streams of some jobs, but for the caller `self` (INC): id -> INCs.
local function followers(ids, self)
  local found = watches(ids)
  for id, entries in pairs(found) do
    local incs = {}
    for at = 1, #entries, 48 do
      local inc = hex(sub(entries, at, at + 15))
      if inc ~= self then incs[#incs + 1] = inc end
    end
    found[id] = incs
  end
  return found
end
local function ended_news(record, outcome, most)
  -- Of a job that is kept no longer there is nothing to ask for.
  if #outcome > most and sub(record, 64, 71) ~= ZERO then
    return pack('>I4', #record) .. record .. pack('>I4', 0)
  end
  return pack('>I4', #record) .. record .. pack('>I4', #outcome) .. outcome
end

-- Wakes an idle worker for jobs of `type`, or one for whose types `any` says so: true when there was
-- one. The process `self` (INC) hears of them from the answer.
local function wake(type, self, any)
  local idle = P .. 'idle'
  local function runs(its)
    if its == '' then return true end
    if any then return any(its) end
    return string.find(its, '\n' .. type .. '\n', 1, true)
  end
  for round = 1, 2 do
    local some = round == 1 and call('HRANDFIELD', idle, 16, 'WITHVALUES') or call('HGETALL', idle)
    for i = 1, #some, 2 do
      if runs(some[i + 1]) then
        call('HDEL', idle, some[i])
        if some[i] == self or publish(some[i], 'w', '', '') > 0 then return true end
      end
    end
    if #some < 32 then return false end
  end
  return false
end

-- `n` jobs more wait in a lane (x: '' or 'x', that of suspects), or fewer.
local function add_waiting(x, queue, type, n)
  local lanes = P .. x .. 'lanes:' .. queue
  if call('HINCRBY', lanes, type, n) == n and call('HLEN', lanes) == 1 then
    call('RPUSH', P .. x .. 'turns', queue)
  end
  count('queued', n)
  count_queue('q:' .. queue, n)
  if x == 'x' then count('suspect', n) else call('HINCRBY', P .. 'types', type, n) end
end
-- True when the queue has none any more; `out`: it is not among the turns now.
local function leave_waiting(x, queue, type, n, out)
  local lanes, empty = P .. x .. 'lanes:' .. queue, false
  if call('HINCRBY', lanes, type, -n) <= 0 then
    call('HDEL', lanes, type)
    call('DEL', P .. x .. 'lane:' .. queue .. ':' .. type)
    empty = call('EXISTS', lanes) == 0
    if empty and not out then call('LREM', P .. x .. 'turns', 1, queue) end
  end
  count('queued', -n)
  count_queue('q:' .. queue, -n)
  if x == 'x' then
    count('suspect', -n)
  elseif call('HINCRBY', P .. 'types', type, -n) <= 0 then
    call('HDEL', P .. 'types', type)
  end
  return empty
end
-- By what number a QUEUED job stands in its lane.
local function place_of(j) return j.place > 0 and j.place or j.age end
-- How many entries of a lane are older.
local function place_in(lane, age)
  local function older(index)
    local there = call('LINDEX', lane, index)
    return there and unpack_struct('>I8', there) < age
  end
  if not older(0) then return 0 end
  local low, high = 0, 1  -- older(low), not older(high)
  while older(high) do low, high = high, 2 * high end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if older(middle) then low = middle else high = middle end
  end
  return high
end
-- Puts a job that ran before where its place is: near the front.
local function enqueue(id, j)
  local x = j.crashes >= SUSPECT and 'x' or ''
  local lane = P .. x .. 'lane:' .. j.queue .. ':' .. j.type
  local entry = pack('>I8', place_of(j)) .. id
  local place = place_in(lane, place_of(j))
  local next = call('LINDEX', lane, place)
  if place == 0 and next ~= entry then
    call('LPUSH', lane, entry)
  elseif not next then
    call('RPUSH', lane, entry)
  elseif next ~= entry then  -- else it left the lane without it
    call('LINSERT', lane, 'BEFORE', next, entry)
  end
  add_waiting(x, j.queue, j.type, 1)
end
-- A QUEUED job waits no more. To find its entry takes long: unless it is the first it stays, but for
-- those of suspects, which are few, and may come back as others.
local function leave_lane(id, j)
  local x = j.crashes >= SUSPECT and 'x' or ''
  local lane, entry = P .. x .. 'lane:' .. j.queue .. ':' .. j.type, pack('>I8', place_of(j)) .. id
  if call('LINDEX', lane, 0) == entry then
    call('LPOP', lane)
  elseif x == 'x' then
    call('LREM', lane, 1, entry)
  end
  leave_waiting(x, j.queue, j.type, 1)
end
-- Whether an entry of a lane stands for a job of P spec and P job.
local function is_live(entry, job, spec)
  if not spec or (job and byte(job) ~= QUEUED) then return false end
  local number = sub(entry, 1, 8)
  if job and has(byte(job, 10), TIMES) then
    local at = times_at(job)
    local place = sub(job, at + 8, at + 15)
    if place ~= ZERO then return place == number end
  end
  return sub(spec, 1, 8) == number
end
local function is_queued(entry)
  local id = sub(entry, 9)
  return is_live(entry, call('HGET', P .. 'job', id), call('HGET', P .. 'spec', id))
end
-- Drops those entries of a part of a list, of `length`, that stand for nothing.
local function drop_dead(list, length, from, to, stands)
  local gone = 0
  for i, entry in ipairs(call('LRANGE', list, from, to)) do
    if not stands(entry) then
      call('LSET', list, from + i - 1, '')
      gone = gone + 1
    end
  end
  -- From the nearer end, and no further than the last of them.
  if gone > 0 then call('LREM', list, from < length / 2 and gone or -gone, '') end
end

-- What is added to the serialized Outcome of a job whose end was asked for.
local function varint(n)
  local out = ''
  while n >= 128 do
    out = out .. string.char(n % 128 + 128)
    n = math.floor(n / 128)
  end
  return out .. string.char(n)
end
local function to_outcome(code, message)
  return '\18' .. string.char(#code) .. code .. '\26' .. varint(#message) .. message
end
local function cancelled_outcome(reason)
  return to_outcome('cancelled', reason == '' and 'cancelled on request' or reason)
end

local ENDS =
  {[SUCCEEDED] = 'succeeded', [DEAD] = 'dead', [CANCELLED] = 'cancelled', [EXPIRED] = 'expired'}

-- A Timestamp, and an AttemptError with it; `what` is its code and message.
local function timestamp(us)
  local seconds = math.floor(us / 1000000)
  local nanos = (us - 1000000 * seconds) * 1000
  return '\8' .. varint(seconds) .. (nanos > 0 and '\16' .. varint(nanos) or '')
end
local function attempt_error(attempt, start, finish, name, what)
  local begun, ended = timestamp(start), timestamp(finish)
  return '\8' .. varint(attempt) .. '\18' .. string.char(#begun) .. begun .. '\26' ..
    string.char(#ended) .. ended .. '\34' .. varint(#name) .. name .. what
end
local function add_error(id, err)
  if call('RPUSH', P .. 'errors:' .. id, err) > ERRORS_KEPT then call('LPOP', P .. 'errors:' .. id) end
end

-- Microseconds when the time of a waiting job is over; nil: never.
local function over_of(j)
  local over = j.expire > 0 and j.expire or nil
  if j.timeout > 0 then
    local deadline = j.deadline > 0 and j.deadline or j.submit + j.timeout
    if not over or deadline < over then over = deadline end
  end
  return over
end
-- EXPIRED or DEAD, as a waiting job has to end; nil: its time is not over.
local function how_over(j, now)
  local over, ms = over_of(j), 1000 * math.floor(now / 1000)
  if not over or ms < over then return nil end
  return j.expire > 0 and ms >= j.expire and EXPIRED or DEAD
end

local function text(number) return string.format('%.0f', number) end
local function add(list, key, value)
  local there = list[key]
  if not there then
    there = {}
    list[key] = there
  end
  there[#there + 1] = value
end

-- A score of P due or P over: a time has not come before the millisecond that it is in.
local function ms_up(us) return math.ceil(us / 1000) end
local function timed_entry(id, j) return pack('>I8', j.age) .. id end
local earliest = nil  -- millisecond of those that have begun to wait
local function wait_until(order, us, entry)
  local ms = ms_up(us)
  call('ZADD', P .. order, text(ms), entry)
  if not earliest or ms < earliest then earliest = ms end
end
-- A job begins to wait, and waits no more (`j` as it was until then).
local function enter_times(id, j)
  if j.state == SCHEDULED then wait_until('due', j.due, timed_entry(id, j)) end
  local over = over_of(j)
  if over then wait_until('over', over, timed_entry(id, j)) end
end
local function leave_times(id, j)
  if j.state == SCHEDULED then call('ZREM', P .. 'due', timed_entry(id, j)) end
  if j.expire + j.timeout > 0 then call('ZREM', P .. 'over', timed_entry(id, j)) end
end
-- Milliseconds until the first time of those that have begun to wait; -1: none has one.
local function until_earliest(now)
  return earliest and math.max(0, earliest - math.floor(now / 1000)) or -1
end
-- So many jobs of a queue are SCHEDULED now, or not any more.
local function add_scheduled(queue, n)
  count('scheduled', n)
  count_queue('q:' .. queue, n)
end
-- At most 4,000 values fit into one call.
local function call_many(command, key, values)
  for from = 1, #values, 4000 do
    call(command, key, unpack(values, from, math.min(#values, from + 3999)))
  end
end

-- By what list of `expire` jobs of a queue are forgotten that ended then, with this retention.
local function second_of(finish, keep)
  return text(math.floor((math.floor(finish / 1000) + keep) / 1000))
end

-- Jobs of one queue that have ended do not count as such any more: they are forgotten or go on.
-- `specs`, `jobs`: what P spec and P job have of them.
local function leave_finished(queue, specs, jobs)
  local times, states, name, finish, keep = {}, {}, nil, nil, nil
  for i, job in ipairs(jobs) do
    local finish8, keep8, state = sub(job, 2, 9), sub(specs[i], 17, 24), byte(job)
    if finish8 ~= finish or keep8 ~= keep then
      finish, keep = finish8, keep8
      name = second_of(unpack_struct('>I8', finish8), unpack_struct('>I8', keep8))
    end
    times[name] = (times[name] or 0) + 1
    states[state] = (states[state] or 0) + 1
  end
  for state, by in pairs(states) do count(ENDS[state], -by) end
  count('finished', -#jobs)
  if count_queue('f:' .. queue, -#jobs) == 0 then call('UNLINK', P .. 'done:' .. queue) end
  for second, by in pairs(times) do
    local name = second .. ':' .. queue
    if call('HINCRBY', P .. 'expiring', name, -by) <= 0 then
      call('HDEL', P .. 'expiring', name)
      call('ZREM', P .. 'expire', name)
      call('UNLINK', P .. 'expire:' .. name)
    end
  end
end

-- True while the job is there that came with this key.
local function has_job(name, value)
  local spec = call('HGET', P .. 'spec', sub(value, 25))
  if not spec then return false end
  local key, queue = unpack_struct('>Bc0Bc0', spec, 26)
  return queue .. '\n' .. key == name
end
-- A key of a job is forgotten at this time.
local function expire_key(seconds, name, id, ms)
  add(seconds, math.floor(ms / 1000), pack('>I8B', ms, #id) .. id .. name)
end
local function keep_seconds(seconds)
  for second, its in pairs(seconds) do
    second = text(second)
    if call('RPUSH', P .. 'keys:' .. second, unpack(its)) == #its then
      call('ZADD', P .. 'keys', second, second)
    end
  end
end
-- The time, the job and the name in an entry of P keys.
local function of_key(entry)
  local ms, id, at = unpack_struct('>I8Bc0', entry)
  return ms, id, sub(entry, at)
end

-- Records of running jobs change: from now on their workers do not know them.
local function touch(...) call('SADD', P .. 'touched', ...) end

-- So many jobs of a block of ages are gone.
local function leave_block(block, by)
  local name = text(block)
  if call('HINCRBY', P .. 'live', name, -by) <= 0 then
    call('HDEL', P .. 'live', name)
    call('ZREM', P .. 'ages', name)
    call('UNLINK', P .. 'ages:' .. name)
  end
end
-- What there is of a job beside P spec and P job; `parts`: those that are deleted together.
local function forget_parts(id, job, parts)
  local flags = byte(job, 10)
  if flags < 2 then return end
  if has(flags, LARGE) then add(parts, 'payload', id) end
  if has(flags, OUTCOME) then add(parts, 'outcome', id) end
  if has(flags, PROGRESS) then add(parts, 'progress', id) end
  if has(flags, ERRORS) then call('UNLINK', P .. 'errors:' .. id) end
  if has(flags, MORE) then
    if sub(job, 56, 63) ~= ZERO then call('UNLINK', P .. 'chunks:' .. id) end
    if sub(job, 72, 79) ~= ZERO then call('UNLINK', P .. 'sends:' .. id, P .. 'sender:' .. id) end
  end
end
-- Nothing is left of jobs of one queue that have ended but their idempotency keys, while those count.
-- `specs`, `jobs`: what P spec and P job have of them.
local function forget(queue, ids, specs, jobs)
  local parts, blocks, seconds = {}, {}, {}
  for i, job in ipairs(jobs) do
    local id, spec = ids[i], specs[i]
    forget_parts(id, job, parts)
    local age, submit, keep = unpack_struct('>I8I8I8', spec)
    local block = math.floor(age / BLOCK)
    blocks[block] = (blocks[block] or 0) + 1
    local key_bytes = byte(spec, 26)
    if key_bytes > 0 then
      local name = queue .. '\n' .. sub(spec, 27, 26 + key_bytes)
      local begun_ms = math.floor(submit / 1000) + KEY_MS
      local ended_ms = math.floor(unpack_struct('>I8', job, 2) / 1000) + keep
      if keep > 0 then
        expire_key(seconds, name, id, math.max(begun_ms, ended_ms))
      elseif ended_ms > begun_ms then
        -- When it was submitted it was told to be forgotten before that.
        local value = call('HGET', P .. 'key', name)
        if value then
          call('HSET', P .. 'key', name, sub(value, 1, 16) .. ZERO .. sub(value, 25))
          expire_key(seconds, name, id, ended_ms)
        end
      end
    end
  end
  call_many('HDEL', P .. 'job', ids)
  call_many('HDEL', P .. 'spec', ids)
  for part, its in pairs(parts) do call_many('HDEL', P .. part, its) end
  for block, by in pairs(blocks) do leave_block(block, by) end
  keep_seconds(seconds)
end

-- Jobs of one queue have ended in one state at one time, with one retention other than 0. Returns how
-- many the queue has now.
local function keep_finished(queue, state, finish, keep, ids)
  local at, entries = pack('>I8', finish), {}
  for i = 1, #ids do entries[i] = at .. ids[i] end
  call('RPUSH', P .. 'done:' .. queue, unpack(entries))
  count(ENDS[state], #ids)
  count('finished', #ids)
  local second = second_of(finish, keep)
  local name = second .. ':' .. queue
  if call('HINCRBY', P .. 'expiring', name, #ids) == #ids then
    call('ZADD', P .. 'expire', second, name)
  end
  call('RPUSH', P .. 'expire:' .. name, unpack(ids))
  return count_queue('f:' .. queue, #ids)
end

-- Whether an entry of `done` stands for what P job has.
local function is_done(job, entry)
  return byte(job) >= SUCCEEDED and sub(job, 2, 9) == sub(entry, 1, 8)
end

-- Entries of jobs that are gone which one call drops from `done`, about: the next goes on.
local gone_left = 4000
-- Forgets the ones that finished first in a queue that has so many, more than `most`, of which
-- `finished` came now.
local function trim_finished(queue, there, finished, most)
  local surplus, piece = math.min(there - most, TRIM * finished), 0
  while surplus > 0 and gone_left > 0 do
    local entries, ids = call('LPOP', P .. 'done:' .. queue, math.max(surplus, piece)), {}
    if not entries then return end
    piece = 100  -- the first time all may well be there
    for i = 1, #entries do ids[i] = sub(entries[i], 9) end
    local all, its = call('HMGET', P .. 'job', unpack(ids)), call('HMGET', P .. 'spec', unpack(ids))
    local live, specs, jobs, rest = {}, {}, {}, #ids + 1
    for i = 1, #ids do
      if all[i] and is_done(all[i], entries[i]) then
        if #live == surplus then
          rest = i
          break
        end
        live[#live + 1], specs[#specs + 1], jobs[#jobs + 1] = ids[i], its[i], all[i]
      else
        gone_left = gone_left - 1
      end
    end
    for i = #ids, rest, -1 do call('LPUSH', P .. 'done:' .. queue, entries[i]) end
    if #live > 0 then
      leave_finished(queue, specs, jobs)
      forget(queue, live, specs, jobs)
      count('removed', #live)
      surplus = surplus - #live
    end
  end
end

-- A job has come to its end as `j` says; it counts as queued or running no more. Returns its record.
-- `most`: finished jobs of a queue; `push`: bytes of an outcome that is told whole.
local function end_job(id, j, outcome, most, push, self)
  call('SREM', P .. 'touched', id)
  call('SREM', P .. 'again', id)
  if j.keep == 0 then
    local record = pack_job(j)
    tell_all(followers({id}, self)[id], 'f', id, ended_news(record, outcome, push))
    forget(j.queue, {id}, {call('HGET', P .. 'spec', id)}, {changing(record)})
    count('removed', 1)
    return record
  end
  j.flags = outcome == '' and without(j.flags, OUTCOME) or with(j.flags, OUTCOME)
  local record = pack_job(j)
  tell_all(followers({id}, self)[id], 'f', id, ended_news(record, outcome, push))
  store(id, record)
  if outcome ~= '' then call('HSET', P .. 'outcome', id, outcome) end
  local there = keep_finished(j.queue, j.state, j.finish, j.keep, {id})
  trim_finished(j.queue, there, 1, most)
  return record
end
-- The same of a waiting job whose time is over, and that is not among those that wait any more.
-- Returns record, spec, outcome, progress.
local function end_overdue(id, j, how, now, most, push, self)
  j.state, j.finish, j.due = how, now, 0
  local outcome = how == EXPIRED and
    to_outcome('expired', 'its time to start passed before a worker was free') or
    to_outcome('deadline', 'its total timeout was over before it was done')
  local spec, progress = spec_of(id), call('HGET', P .. 'progress', id)
  return {end_job(id, j, outcome, most, push, self), spec, outcome, progress}
end
