-- Begins every script (the build joins the files; a script's first line is its shebang with flags).
--
-- All keys of a shard begin with KEYS[1], "{PREFIX:00}:", called P here, so that they share one
-- hash slot. INC is a process's incarnation: 16 bytes as 32 hex digits.
--   P layout            string  the version of all this: a daemon of another one does not start
--   P job               hash    job id -> record (below)
--   P spec              hash    job id -> serialized JobSpec, without its payload when that is large
--   P payload           hash    job id -> a large payload
--   P outcome           hash    job id -> serialized Outcome of a finished job
--   P progress          hash    job id -> serialized Progress
--   P ages              zset    job id by age: List goes through it from the newest
--   P age               string  the last age given
--   P turns, P xturns   list    names of queues with jobs queued, in turn (x: of suspects)
--   P lanes:QUEUE       hash    type -> jobs queued (P xlanes:QUEUE)
--   P lane:QUEUE:TYPE   list    ">I8" of its age and the id of a job, by age (P xlane:QUEUE:TYPE).
--                               An entry whose record is not queued any more, or is of another age
--                               (the id was used again), is skipped and counts nowhere; a lane
--                               without live entries is deleted
--   P count             hash    queued, running, finished, succeeded, dead, cancelled, suspect,
--                               removed, q:QUEUE (queued), f:QUEUE (finished): kept counters
--   P held:INC          hash    job id -> attempt: what a process runs
--   P took:INC          list    the last take_seq, then the ids that take got
--   P workers           hash    INC -> beat in microseconds, a space, serialized v1.Worker
--   P dead:INC          hash    job id -> attempt requeued from a process given up; 1 hour
--   P idle              hash    INC -> its types, each between newlines (empty: any): it waits for
--                               work, and whoever brings some removes it and publishes "w" to it
--   P watch             hash    job id -> who follows its stream: 48 bytes each, ">c16I4I4I8I8" of
--                               incarnation, passive, attached, credit, cursor, padded
--   P follows:INC       set     the ids it has in `watch`
--   P done:QUEUE        list    ">I8" of its finish and the id of a job, as they finished; an entry
--                               whose record has another finish (retried) or is gone is skipped
--   P expire            zset    finished job id by the millisecond it is forgotten
--   P key:QUEUE:KEY     string  idempotency key -> ">I8c16" of the millisecond from which it counts
--                               no more (0: its job is there) and the fingerprint, then the job id;
--                               lives for ever while its job does, then has a time to live too
--   P chunks:ID         stream  entry id LAST-0, where LAST is the last sequence of its block:
--                               "b" -> block: ">I8BI4" of first sequence, kind, count, then count
--                               ends as "<I4" and the bytes
--   P sends:ID          stream  entry id NUMBER-0: "s" sender, "n" sender's number, "v" value
--   P sender:ID         hash    sender -> its last number, a space, the number that got
--
-- News for one process are published to P d:INC (a channel): a letter, a byte with the length of the
-- job's id, the id, and
--   w nothing: there is work            c the reason: cancel it     s ">I8" number, value: a send
--   e a block, as stored: entries       n ">I8": stored up to       f record, outcome: finished
--   p a Progress                        r record: retried           x nothing: removed
--   R 48 bytes as in watch: readers     D ">I8": its readers below that are given up
-- (record and outcome are each preceded by ">I4", their length; a length of 0: ask for it.)
--
-- A record: HEAD by struct, then queue, type, worker name, cancel reason, idempotency key, each
-- preceded by a length byte (the reason by ">I2").
local P = KEYS[1]
local HEAD = '>BBBI4I8I8I8I8I8I8I8I8I8I8c16'
local QUEUED, RUNNING, SUCCEEDED, DEAD, CANCELLED = 2, 3, 4, 5, 6
-- Bits of flags.
local CANCEL, LARGE, PROGRESS = 1, 2, 4

-- The record as a table.
local function unpack_job(record)
  local j, at = {}, nil
  j.state, j.flags, j.crashes, j.attempt, j.age, j.submit, j.start, j.finish, j.first, j.last,
    j.from, j.send, j.consumed, j.keep, j.worker, at = struct.unpack(HEAD, record)
  j.queue, j.type, j.name, j.reason, j.key = struct.unpack('>Bc0Bc0Bc0I2c0Bc0', record, at)
  return j
end

-- times are microseconds; from: where the running attempt's entries begin (attempt_sequence); keep:
-- retention in milliseconds.
local function pack_job(j)
  return struct.pack(HEAD .. 'Bc0Bc0Bc0I2c0Bc0', j.state, j.flags, j.crashes, j.attempt, j.age,
    j.submit, j.start, j.finish, j.first, j.last, j.from, j.send, j.consumed, j.keep, j.worker,
    #j.queue, j.queue, #j.type, j.type, #j.name, j.name, #j.reason, j.reason, #j.key, j.key)
end

-- Microseconds. `offset` moves the clock and is 0 but in tests.
local function now_us(offset)
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2] + offset
end

-- INC, or another string of bytes in hex.
local function to_hex(bytes)
  return (bytes:gsub('.', function(byte) return string.format('%02x', byte:byte()) end))
end

-- One piece of news for process `inc`. Returns how many have received it.
local function tell(inc, letter, id, rest)
  return redis.call('PUBLISH', P .. 'd:' .. inc, letter .. string.char(#id) .. id .. (rest or ''))
end
-- The same for each of several; nil: nobody.
local function tell_all(incs, letter, id, rest)
  for _, inc in ipairs(incs or {}) do tell(inc, letter, id, rest) end
end

-- What P watch has of some jobs, at most 4000: id -> entries. Most jobs have none.
local function watches(ids)
  local found = {}
  if #ids == 0 or redis.call('EXISTS', P .. 'watch') == 0 then return found end
  for i, entries in ipairs(redis.call('HMGET', P .. 'watch', unpack(ids))) do
    if entries then found[ids[i]] = entries end
  end
  return found
end
-- Who follows the streams of some jobs, but for the caller `own`: id -> INCs.
local function followers(ids, own)
  local found = watches(ids)
  for id, entries in pairs(found) do
    local incs = {}
    for at = 1, #entries, 48 do
      local inc = to_hex(entries:sub(at, at + 15))
      if inc ~= own then incs[#incs + 1] = inc end
    end
    found[id] = incs
  end
  return found
end

-- Of crashes, as crash_policy.h says; and how long an idempotency key counts at least, in ms.
local SUSPECT, KEY_MS = 3, 24 * 3600 * 1000
local COUNTERS = {[SUCCEEDED] = 'succeeded', [DEAD] = 'dead', [CANCELLED] = 'cancelled'}

-- Adds to a counter of a queue, which takes no room while it is 0. Returns what it is now.
local function count_queue(name, by)
  local now = redis.call('HINCRBY', P .. 'count', name, by)
  if now == 0 then redis.call('HDEL', P .. 'count', name) end
  return now
end

-- Puts an entry into a lane, by age: at the end when it is new, at the front or near it when it was
-- there before.
local function place(lane, id, age)
  local entry = struct.pack('>I8', age) .. id
  local function age_at(index) return struct.unpack('>I8', redis.call('LINDEX', lane, index)) end
  local length = redis.call('LLEN', lane)
  if length == 0 or age_at(-1) < age then return redis.call('RPUSH', lane, entry) end
  if age < age_at(0) then return redis.call('LPUSH', lane, entry) end
  local low, high = 0, length - 1  -- the first younger one is above low, and not above high
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if age_at(middle) < age then low = middle else high = middle end
  end
  return redis.call('LINSERT', lane, 'BEFORE', redis.call('LINDEX', lane, high), entry)
end

-- A job is QUEUED now: it stands in its lane and counts.
local function enqueue(id, j)
  local x = j.crashes >= SUSPECT and 'x' or ''
  place(P .. x .. 'lane:' .. j.queue .. ':' .. j.type, id, j.age)
  local lanes = P .. x .. 'lanes:' .. j.queue
  if redis.call('HINCRBY', lanes, j.type, 1) == 1 and redis.call('HLEN', lanes) == 1 then
    redis.call('RPUSH', P .. x .. 'turns', j.queue)
  end
  redis.call('HINCRBY', P .. 'count', 'queued', 1)
  count_queue('q:' .. j.queue, 1)
end

-- A job counts as finished no more.
local function leave_finished(id, j)
  redis.call('ZREM', P .. 'expire', id)
  redis.call('HINCRBY', P .. 'count', 'finished', -1)
  redis.call('HINCRBY', P .. 'count', COUNTERS[j.state], -1)
  if count_queue('f:' .. j.queue, -1) == 0 then redis.call('UNLINK', P .. 'done:' .. j.queue) end
end

-- Nothing is left of a job but its idempotency key, for as long as that counts.
local function forget(id, j, now)
  for _, part in ipairs({'job', 'spec', 'payload', 'outcome', 'progress'}) do
    redis.call('HDEL', P .. part, id)
  end
  redis.call('ZREM', P .. 'ages', id)
  redis.call('UNLINK', P .. 'chunks:' .. id, P .. 'sends:' .. id, P .. 'sender:' .. id)
  if j.key == '' then return end
  local name = P .. 'key:' .. j.queue .. ':' .. j.key
  local key = redis.call('GET', name)
  if not key then return end
  local _, print, at = struct.unpack('>I8c16', key)
  if key:sub(at) ~= id then return end
  local expire = math.max(math.floor(j.submit / 1000) + KEY_MS, math.floor(j.finish / 1000) + j.keep)
  local left = expire - math.floor(now / 1000)
  if left <= 0 then
    redis.call('UNLINK', name)
  else
    redis.call('SET', name, struct.pack('>I8c16', expire, print) .. id, 'PX', left)
  end
end

-- Forgets those of a queue's finished jobs that are too many, the ones that finished first, but no
-- more than `most`. Returns their ids.
local function trim_finished(queue, limit, most, now)
  local surplus = tonumber(redis.call('HGET', P .. 'count', 'f:' .. queue) or 0) - limit
  local gone = {}
  while #gone < math.min(surplus, most) do
    local entry = redis.call('LPOP', P .. 'done:' .. queue)
    if not entry then break end
    local finish, at = struct.unpack('>I8', entry)
    local id = entry:sub(at)
    local record = redis.call('HGET', P .. 'job', id)
    local j = record and unpack_job(record)
    if j and j.state >= SUCCEEDED and j.finish == finish then
      leave_finished(id, j)
      forget(id, j, now)
      redis.call('HINCRBY', P .. 'count', 'removed', 1)
      gone[#gone + 1] = id
    end
  end
  return gone
end
