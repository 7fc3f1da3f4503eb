#!lua flags=allow-oom
-- Ends attempts, then takes queued jobs: oldest first in a queue, queues in turn. Those whose time is
-- over end instead.
-- KEYS[1] P
-- ARGV  1 clock  2 INC of the caller  3 the worker that takes (16 bytes)  4 finished jobs of a queue
--       5 bytes of an outcome or block that is told whole  6 take_seq  7 most jobs to take  8 stop
--       at so many bytes of spec and payload  9 name of the worker  10 '1': one may be a suspect
--       11 its types, each between newlines (empty: any)  12 '1': take nothing without a lease
--       13 N types with room of their own, then each with its room; then M groups of settlements,
--       each of one queue, its retention in milliseconds, what the caller thinks P job has of each
--       from the flags on, and without a retention ">I8" of the first submission, then of blocks of
--       ages and their jobs; then K settlements (no job twice): first four bytes for each, with the
--       state, what follows (1 the last sequence, 2 an outcome, 4 a progress, 8 what an AttemptError
--       says of it, 16 of a SCHEDULED one the microseconds until it is due and its age, as ">I8I8",
--       32 nothing: the record has to be read) and the group as ">I2" (from 1; 0: the caller does
--       not know the job); then K job ids; then for each the token (worker, attempt as ">I4") if it
--       has no group, and what follows
-- Returns {counts, now, a letter for each settlement, details, jobs, specs, extras, letter, overdue,
--       in}.
--       Letters: d done, D done with details, w SCHEDULED now, a done before (with details), n no such
--       job, N the same with details of how it ended, s stale,
--       g gap (details with the last sequence stored as outcome). Details: for each its index,
--       record, outcome, progress, JobSpec (if the caller does not know the job). The jobs taken:
--       what P job and P spec have, and for some their index, payload, progress and watch in extras.
--       Of those that ended as their time is over: record, spec, outcome, progress. The milliseconds
--       until the first time of those that are SCHEDULED now (-1: none).
--       The letter: b there is more (it stopped at the bytes, or has looked at much), l the lease
--       is gone, r the jobs of a lost answer, o a later take was answered (this one is of a connection
--       that was lost, and gets nothing), or none.
-- One script, because a worker that ends jobs wants others in one step, and so that no job is taken
-- twice.
local now, self, worker, kept, push = now_us(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4]),
  tonumber(ARGV[5])
local take_seq, want, most_bytes = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local types = ARGV[11]
local INC = hex(worker)
local held = P .. 'held:' .. INC
local at = 14
local rooms
for _ = 1, ARGV[13] do
  rooms = rooms or {}
  rooms[ARGV[at]] = tonumber(ARGV[at + 1])
  at = at + 2
end
local groups = {}
for i = 1, ARGV[at] do
  local its = at + 4 * i - 3
  groups[i] = {queue = ARGV[its], keep = tonumber(ARGV[its + 1]), thought = ARGV[its + 2],
    gone = ARGV[its + 3], ids = {}, ends = {}, later = 0}
end
at = at + 1 + 4 * #groups

-- 1. Settlements. In the common case not even P job is read; all others go one by one.
local FATE_S = 3600
local letters, details = {}, {}
local function detail(...)
  for _, part in ipairs({...}) do details[#details + 1] = part end
end

local function settle_any(i, id, record, state, unknown, last, outcome, progress, err, pause)
  local j, wanted = unpack_job(record), state
  if last > j.last then
    detail(i, record, text(j.last), false, false)
    return 'g'
  end
  call('SREM', P .. 'held:' .. hex(j.worker), id)
  count('running', -1)
  if progress ~= '' then
    call('HSET', P .. 'progress', id, progress)
    j.flags = with(j.flags, PROGRESS)
    tell_all(followers({id}, self)[id], 'p', id, progress)
  else
    progress = has(j.flags, PROGRESS) and call('HGET', P .. 'progress', id)
  end
  if err then
    add_error(id, attempt_error(j.attempt, j.start, now, j.name, err))
    j.failures, j.flags = j.failures + 1, with(j.flags, ERRORS)
  end
  if has(j.flags, CANCEL) and (state == DEAD or state == SCHEDULED) then
    state, outcome = CANCELLED, outcome .. cancelled_outcome(j.reason)
  end
  j.state = state
  if state == SCHEDULED then
    if not err then j.snoozes = j.snoozes + 1 end
    j.due = now + unpack_struct('>I8', pause)
    call('SREM', P .. 'touched', id)
    store(id, pack_job(j))
    add_scheduled(j.queue, 1)
    enter_times(id, j)
    return 'w'
  end
  j.finish = now
  local spec = unknown and spec_of(id)
  record = end_job(id, j, outcome, kept, push, self)
  if j.keep == 0 and state ~= wanted then
    -- Nothing else is left to tell whose answer is lost that it ended in another way.
    call('HSET', P .. 'fate:' .. id, 'record', record, 'outcome', outcome)
    call('EXPIRE', P .. 'fate:' .. id, FATE_S)
  end
  detail(i, record, outcome, progress, spec)
  return 'D'
end

-- The same of a job that is kept no longer than it runs.
local function settled_and_gone(i, id, token)
  local fate = call('HMGET', P .. 'fate:' .. id, 'record', 'outcome')
  if not fate[1] or sub(fate[1], 12, 31) ~= token then return 'n' end
  detail(i, fate[1], fate[2], false, false)
  return 'N'
end

-- What a repeated settlement came to before.
local function settled_before(i, id, record, unknown)
  local flags = byte(record, 10)
  detail(i, record, has(flags, OUTCOME) and call('HGET', P .. 'outcome', id),
    has(flags, PROGRESS) and call('HGET', P .. 'progress', id),
    unknown and spec_of(id))
  return 'a'
end

-- Jobs without a retention, all alike, are gone. Their keys have been told when they are forgotten.
local function forget_alike(group)
  local ids, parts, job = group.ids, {}, group.job
  if byte(job, 10) >= LARGE then
    for _, id in ipairs(ids) do forget_parts(id, job, parts) end
    for part, its in pairs(parts) do call_many('HDEL', P .. part, its) end
  end
  call_many('HDEL', P .. 'job', ids)
  call_many('HDEL', P .. 'spec', ids)
  local gone = group.gone
  for from = 9, #gone, 16 do leave_block(unpack_struct('>I8I8', gone, from)) end
end
local function forget_group(group)
  local submit_ms = math.floor(unpack_struct('>I8', group.gone) / 1000)
  local blocks = 0
  for from = 9, #group.gone, 16 do blocks = blocks + unpack_struct('>I8', group.gone, from + 8) end
  if submit_ms + KEY_MS > math.floor(now / 1000) and blocks == #group.ids then
    forget_alike(group)
  else
    local jobs = {}
    for i = 1, #group.ids do jobs[i] = group.job end
    forget(group.queue, group.ids, call('HMGET', P .. 'spec', unpack(group.ids)), jobs)
  end
  count('removed', #group.ids)
end

-- What P job has of a job after an attempt that failed, or put the job off: what comes before the time
-- when it is due, and what comes after that.
local function after_attempt(job, failed)
  local flags, at, place, deadline, failures, snoozes = byte(job, 10), times_at(job), ZERO, ZERO, 0, 0
  local rest = at
  if has(flags, TIMES) then
    place, deadline, failures, snoozes, rest = unpack_struct('>c8c8I4I4', job, at + 8)
  end
  if failed then
    flags, failures = with(flags, ERRORS), failures + 1
  else
    snoozes = snoozes + 1
  end
  return sub(job, 1, 9) .. string.char(with(flags, TIMES)) .. sub(job, 11, at - 1),
    place .. deadline .. pack('>I4I4', failures, snoozes) .. sub(job, rest)
end
-- Jobs of a group that end in one way: ids; what P job has of them then (job; with_outcome; of
-- SCHEDULED ones before and after the time when they are due), and what their AttemptErrors begin with.
local function end_group(group, state, failed)
  local thought, finish = group.thought, state == SCHEDULED and ZERO or pack('>I8', now)
  local job = string.char(state) .. finish .. thought
  local ends = {ids = {}}
  if state ~= SCHEDULED then group.job = job end
  if failed then
    local attempt, start = unpack_struct('>I4I8', thought, 19)
    local name_at = times_at(job) + (has(byte(job, 10), TIMES) and 32 or 0)
    ends.begin = attempt_error(attempt, start, now, sub(job, name_at), '')
  end
  if failed or state == SCHEDULED then
    ends.before, ends.after = after_attempt(job, failed)
    job = ends.before .. ZERO .. ends.after
  end
  ends.job = job
  ends.with_outcome = sub(job, 1, 9) .. string.char(with(byte(job, 10), OUTCOME)) .. sub(job, 11)
  return ends
end
-- Whether P job has what the caller thinks, who leaves out the place. (It may know of a cancel.)
local function is_as_thought(job, thought)
  local flags = byte(job, 10)
  if byte(job) ~= RUNNING or #job ~= #thought + 9 or has(flags, CANCEL) then return false end
  if not has(flags, TIMES) then return sub(job, 10) == thought end
  local at = times_at(job)
  return sub(job, 10, at + 7) == sub(thought, 1, at - 2) and sub(job, at + 16) == sub(thought, at + 7)
end
-- Times and entries, in turn, of jobs that are SCHEDULED.
local function enter_all(dues)
  for i = 1, #dues, 2 do
    if not earliest or dues[i] < earliest then earliest = dues[i] end
    dues[i] = text(dues[i])
  end
  call('ZADD', P .. 'due', unpack(dues))
end

-- What may follow when nothing but what the caller thinks of the job has to be known.
local QUICK = {[2] = true, [8] = true, [10] = true, [16] = true, [24] = true}
local settlements = tonumber(ARGV[at])
if settlements > 0 then
  local hows, first = ARGV[at + 1], at + 2
  local touched = call('EXISTS', P .. 'touched') == 1 and
    call('SMISMEMBER', P .. 'touched', unpack(ARGV, first, at + 1 + settlements))
  at = at + settlements + 2
  local following = followers({unpack(ARGV, first, first + settlements - 1)}, self)
  -- What it holds and nobody has touched is as its worker thinks.
  local trusted, left, doubted, doubts = {}, {}, {}, {}
  for i = 1, settlements do
    local _, follows, high, low = byte(hows, 4 * i - 3, 4 * i)
    if (follows == 0 or QUICK[follows]) and high + low > 0 then
      if touched and touched[i] == 1 then
        doubted[#doubted + 1], doubts[#doubts + 1] = ARGV[first + i - 1], i
      else
        trusted[i] = true
        left[#left + 1] = ARGV[first + i - 1]
      end
    end
  end
  if #doubted > 0 then
    local as_thought = {}
    for k, job in ipairs(call('HMGET', P .. 'job', unpack(doubted))) do
      local _, _, high, low = byte(hows, 4 * doubts[k] - 3, 4 * doubts[k])
      if job and is_as_thought(job, groups[high * 256 + low].thought) then
        trusted[doubts[k]] = true
        left[#left + 1], as_thought[#as_thought + 1] = doubted[k], doubted[k]
      end
    end
    if #as_thought > 0 then call('SREM', P .. 'touched', unpack(as_thought)) end
  end
  if #left > 0 and call('SREM', held, unpack(left)) == #left then
    count('running', -#left)
  else
    trusted = {}
  end
  local sets, outcomes, dues = {}, {}, {}
  for i = 1, settlements do
    local id = ARGV[first + i - 1]
    local state, follows, high, low = byte(hows, 4 * i - 3, 4 * i)
    local group, token, last, outcome, progress = groups[high * 256 + low], nil, 0, '', ''
    local err, pause = nil, nil
    if not group then token, at = ARGV[at], at + 1 end
    if follows > 0 then
      if has(follows, 1) then last, at = unpack_struct('>I8', ARGV[at]), at + 1 end
      if has(follows, 2) then outcome, at = ARGV[at], at + 1 end
      if has(follows, 4) then progress, at = ARGV[at], at + 1 end
      if has(follows, 8) then err, at = ARGV[at], at + 1 end
      if has(follows, 16) then pause, at = ARGV[at], at + 1 end
    end
    if trusted[i] then
      letters[i] = 'd'
      local ends = group.ends[err and -state or state]
      if not ends then
        ends = end_group(group, state, err)
        group.ends[err and -state or state] = ends
      end
      local job = ends.job
      if pause then
        letters[i] = 'w'
        local after, age = unpack_struct('>I8I8', pause)
        sets[#sets + 1], sets[#sets + 2] = id, ends.before .. pack('>I8', now + after) .. ends.after
        dues[#dues + 1], dues[#dues + 2] = ms_up(now + after), pack('>I8', age) .. id
        group.later = group.later + 1
      elseif group.keep == 0 then
        group.ids[#group.ids + 1] = id
      else
        if outcome ~= '' then
          job = ends.with_outcome
          outcomes[#outcomes + 1] = id
          outcomes[#outcomes + 1] = outcome
        end
        sets[#sets + 1] = id
        sets[#sets + 1] = job
        ends.ids[#ends.ids + 1] = id
      end
      if err and (pause or group.keep > 0) then add_error(id, ends.begin .. err) end
      if following[id] and not pause then
        local record = whole(call('HGET', P .. 'spec', id), job)
        tell_all(following[id], 'f', id, ended_news(record, outcome, push))
      end
    else
      local record = stored(id)
      token = token or sub(group.thought, 3, 22)
      if not record then
        letters[i] = settled_and_gone(i, id, token)
      elseif sub(record, 12, 31) ~= token or sub(token, 17) == '\0\0\0\0' then
        letters[i] = 's'
      elseif byte(record) == RUNNING then
        letters[i] = settle_any(i, id, record, state, not group, last, outcome, progress, err,
          pause)
      else
        letters[i] = settled_before(i, id, record, not group)
      end
    end
  end
  if #sets > 0 then call('HSET', P .. 'job', unpack(sets)) end
  if #outcomes > 0 then call('HSET', P .. 'outcome', unpack(outcomes)) end
  if #dues > 0 then enter_all(dues) end
  for _, group in ipairs(groups) do
    local ended, there = 0, 0
    for state, ends in pairs(group.ends) do
      if #ends.ids > 0 then
        there = keep_finished(group.queue, math.abs(state), now, group.keep, ends.ids)
        ended = ended + #ends.ids
      end
    end
    if ended > 0 then trim_finished(group.queue, there, ended, kept) end
    if #group.ids > 0 then forget_group(group) end
    if group.later > 0 then add_scheduled(group.queue, group.later) end
  end
end

-- 2. Jobs for the worker.
local taken, jobs, specs, extras, ending = {}, {}, {}, {}, ''
local over = {}  -- what end_overdue() says of those whose time is over
local bytes = 0

local function has_room(type)
  return not rooms or (rooms[type] or 1) > 0
end
local function use_room(type, n)
  if rooms and rooms[type] then rooms[type] = rooms[type] - n end
end
local function full() return bytes >= most_bytes end
local function size_of(id, spec)
  return #spec + (has(byte(spec, 25), LARGE) and call('HSTRLEN', P .. 'payload', id) or 0)
end
-- Ends a job that stood in a lane if its time is over; most have none.
local OVER_COST = 8  -- entries that are looked at in as much time
local dead = 0
local function has_ended(id, job, spec)
  if not has(byte(spec, 25), TIMED) then return false end
  local j = unpack_job(whole(spec, job))
  local how = how_over(j, now)
  leave_times(id, j)
  if not how then return false end
  over[#over + 1] = end_overdue(id, j, how, now, kept, push, self)
  dead = dead + OVER_COST
  return true
end
local function take(id, job, spec, size)
  local place = #taken + 1
  taken[place], jobs[place], specs[place] = id, job, spec
  bytes = bytes + size
end

-- Lanes, and entries that stand for no job, at which one call looks at most about; and before that
-- at lanes of suspects, as nothing says of which types these are.
local LOOKS, SUSPECT_LOOKS = 4000, 500
local looks, most_looks = 0, 0
-- Lanes of one queue at which it looks; of more than so many any may be next.
local LANES = 1000
local own, is_own  -- its types, and whether a type is one of them; none: it runs any
if types ~= '' then
  own, is_own = {}, {}
  for type in string.gmatch(types, '[^\n]+') do
    own[#own + 1] = type
    is_own[type] = true
  end
end

-- From the only lane there is, without a look at the ages. False: it has come to an end of some kind.
local function take_from_lane(x, queue, type, most)
  local lane = P .. x .. 'lane:' .. queue .. ':' .. type
  local entries = call('LPOP', lane, most)
  if not entries then return false end
  -- Without dead entries there is nothing to compare.
  local live = call('LLEN', lane) + #entries ==
    tonumber(call('HGET', P .. x .. 'lanes:' .. queue, type))
  local ids = {}
  for i = 1, #entries do ids[i] = sub(entries[i], 9) end
  local there = (not live or call('EXISTS', P .. 'again') == 1) and
    call('HMGET', P .. 'job', unpack(ids)) or {}
  local its = call('HMGET', P .. 'spec', unpack(ids))
  local n, used, ended = #entries, 0, 0
  if not live then
    n = 0
    for i = 1, #entries do
      if is_live(entries[i], there[i], its[i]) then
        n = n + 1
        ids[n], there[n], its[n], entries[n] = ids[i], there[i], its[i], entries[i]
      end
    end
    dead = dead + #entries - n
    if dead >= LOOKS then ending = 'b' end
    if n == 0 then return dead < LOOKS end
  end
  for i = 1, n do
    if bytes >= most_bytes or ended * OVER_COST >= LOOKS then break end
    local spec = its[i]
    local flags = byte(spec, 25)
    if flags > 0 and has_ended(ids[i], there[i], spec) then
      ended = ended + 1
    else
      local place = #taken + 1
      taken[place], jobs[place], specs[place] = ids[i], there[i] or false, spec
      bytes = bytes + (flags == 0 and #spec or size_of(ids[i], spec))
    end
    used = i
  end
  if dead >= LOOKS then ending = 'b' end
  for i = n, used + 1, -1 do call('LPUSH', lane, entries[i]) end
  leave_waiting(x, queue, type, used)
  use_room(type, used - ended)
  return dead < LOOKS and not full()
end

-- The next entries of a lane that stand for jobs.
local PIECE = 16
local function look(lane)
  while not lane.head and dead < LOOKS do
    local entry = lane.items[lane.next]
    if entry then
      lane.head = entry
    else
      local entries = call('LRANGE', lane.key, lane.read, lane.read + lane.piece - 1)
      if #entries == 0 then return end
      local ids = {}
      for i = 1, #entries do ids[i] = sub(entries[i], 9) end
      local there = call('HMGET', P .. 'job', unpack(ids))
      local its = call('HMGET', P .. 'spec', unpack(ids))
      lane.items, lane.next = {}, 1
      for i = 1, #entries do
        if is_live(entries[i], there[i], its[i]) then
          lane.items[#lane.items + 1] = {ids[i], there[i], its[i], lane.read + i,
            unpack_struct('>I8', entries[i])}
        end
      end
      lane.read = lane.read + #entries
      dead = dead + #entries - #lane.items
    end
  end
end
-- Some of `names`, others each time.
local function some_of(names, most)
  local some, from = {}, now % #names
  for i = 1, most do some[i] = names[(from + i) % #names + 1] end
  return some
end
-- Types of a queue's lanes that this worker may take from now, and whether there may be more.
local function find_types(lanes)
  local there, all, partial = call('HLEN', lanes), nil, false
  if own and #own < there then
    all = {}
    for from = 1, #own, LOOKS do
      local counts = call('HMGET', lanes, unpack(own, from, math.min(#own, from + LOOKS - 1)))
      for i, jobs in ipairs(counts) do
        if jobs then all[#all + 1] = own[from + i - 1] end
      end
    end
  elseif own or there <= LANES then
    all = call('HKEYS', lanes)
  else
    all, partial = call('HRANDFIELD', lanes, LANES), true
  end
  looks = looks + math.max(1, math.ceil((own and #own < there and #own or #all) / PIECE))
  local found = {}
  for _, type in ipairs(all) do
    if (not own or is_own[type]) and has_room(type) then found[#found + 1] = type end
  end
  if #found > LANES then found, partial = some_of(found, LANES), true end
  return found, partial
end
-- Lanes are a heap: the one whose next entry is the oldest, be it of a job or not, is the first.
local function sink(lanes, at)
  local lane = lanes[at]
  while true do
    local child = 2 * at
    if child > #lanes then break end
    if child < #lanes and lanes[child + 1].age < lanes[child].age then child = child + 1 end
    if lane.age <= lanes[child].age then break end
    lanes[at], at = lanes[child], child
  end
  lanes[at] = lane
end
local function open(x, name)
  local found, partial = find_types(P .. x .. 'lanes:' .. name)
  local queue = {name = name, lanes = {}, heap = {}, partial = partial}
  for i, type in ipairs(found) do
    local lane = {type = type, key = P .. x .. 'lane:' .. name .. ':' .. type, items = {}, next = 1,
      read = 0, jobs = 0, piece = #found > PIECE and 2 or PIECE}
    local entry = call('LINDEX', lane.key, 0)
    queue.lanes[i] = lane
    if entry then
      lane.age = unpack_struct('>I8', entry)
      queue.heap[#queue.heap + 1] = lane
    end
  end
  for i = math.floor(#queue.heap / 2), 1, -1 do sink(queue.heap, i) end
  looks = looks + #found
  return queue
end
-- The lane with the oldest job of a type that has room.
local function oldest(queue)
  local heap = queue.heap
  while #heap > 0 do
    local lane = heap[1]
    local ready = has_room(lane.type)
    if ready and lane.head then return lane end
    if ready then look(lane) end
    if ready and lane.head then
      lane.age = lane.head[5]
    else
      local last = table.remove(heap)
      if last == lane then return end
      heap[1] = last
    end
    sink(heap, 1)
  end
end

-- From all queues in turn. A queue without a job for this worker keeps its place.
local function take_in_turn(x, most)
  local turns = P .. x .. 'turns'
  local total, read, names = call('LLEN', turns), 0, {}
  local all, ring, first, waiting, partial = {}, {}, 1, {}, false
  while most > 0 and not full() and dead < LOOKS do
    local queue
    if read < total and looks < most_looks then
      if read % PIECE == 0 then names = call('LRANGE', turns, read, read + PIECE - 1) end
      queue = open(x, names[read % PIECE + 1])
      all[#all + 1] = queue
      read = read + 1
    elseif first <= #ring then
      queue = ring[first]
      first = first + 1
    else
      break
    end
    local lane = oldest(queue)
    if lane then
      local item = lane.head
      lane.head, lane.next, lane.jobs = nil, lane.next + 1, lane.jobs + 1
      if not has_ended(item[1], item[2], item[3]) then
        take(item[1], item[2], item[3], size_of(item[1], item[3]))
        use_room(lane.type, 1)
        most = most - 1
      end
      ring[#ring + 1] = queue
    else
      partial = partial or queue.partial
      waiting[#waiting + 1] = queue
    end
  end
  call('LTRIM', turns, read, -1)
  for _, queue in ipairs(all) do
    for _, lane in ipairs(queue.lanes) do
      -- Up to the next that is left, so that no call looks at the same dead entries again.
      local left = lane.items[lane.next]
      local used = left and left[4] - 1 or lane.read
      if used > 0 then call('LTRIM', lane.key, used, -1) end
      if lane.jobs > 0 and leave_waiting(x, queue.name, lane.type, lane.jobs, true) then
        queue.empty = true
      end
    end
  end
  local function put_back(command, queue)
    if not queue.empty then call(command, turns, queue.name) end
  end
  local stopped = dead >= LOOKS or (looks >= most_looks and read < total)
  if stopped then
    for i = 1, #waiting do put_back('RPUSH', waiting[i]) end  -- others come first next time
  else
    for i = #waiting, 1, -1 do put_back('LPUSH', waiting[i]) end
  end
  if most > 0 and (dead >= LOOKS or (x == '' and (stopped or partial))) then ending = 'b' end
  for i = first, #ring do put_back('RPUSH', ring[i]) end
end

-- Whether jobs wait, no suspects, that this worker can run: else it would look at all the others' for nothing.
local function finds_any()
  if not own then return true end
  for _, type in ipairs(own) do
    if has_room(type) and call('HEXISTS', P .. 'types', type) == 1 then return true end
  end
  return false
end

local function take_some(x, most)
  local limit = #taken + most
  looks, most_looks, dead = 0, x == 'x' and SUSPECT_LOOKS or LOOKS, 0
  while #taken < limit and not full() do
    local names = call('LRANGE', P .. x .. 'turns', 0, 1)
    if #names == 0 then return end
    local lanes = #names == 1 and call('HRANDFIELD', P .. x .. 'lanes:' .. names[1], 2)
    if not lanes or #lanes > 1 then
      if x == 'x' or finds_any() then take_in_turn(x, limit - #taken) end
      return
    end
    local type = lanes[1]
    if (own and not is_own[type]) or not has_room(type) then return end
    local room = rooms and rooms[type] or limit
    if not take_from_lane(x, names[1], type, math.min(limit - #taken, room)) then return end
  end
end

-- A job of which P job has nothing that another attempt would change, but for `times`.
local function start_new(flags, crashes, attempt, times)
  return string.char(RUNNING) .. ZERO .. string.char(flags, crashes) .. worker ..
    pack('>I4I8', attempt, now) .. times .. ARGV[9]
end
-- A job that P job has.
local function start_again(id, job, spec, following)
  local flags = byte(job, 10)
  if not has(flags, MORE) then
    return start_new(flags, byte(job, 11), unpack_struct('>I4', job, 28) + 1,
      has(flags, TIMES) and sub(job, 40, 71) or '')
  end
  local j = unpack_job(whole(spec, job))
  j.state, j.worker, j.attempt, j.name, j.start, j.consumed = RUNNING, worker, j.attempt + 1, ARGV[9],
    now, 0
  if j.last > 0 then
    j.last = j.last + 1
    j.from = j.last
    local entry = '\8' .. varint(j.attempt) .. '\24' .. varint(j.last)  -- an AttemptStarted
    local block = pack('>I8BI4', j.last, 1, 1) .. pack('<I4', #entry) .. entry
    call('XADD', P .. 'chunks:' .. id, text(j.last) .. '-0', 'b', block)
    tell_all(following[id], 'e', id, block)
  end
  return changing(pack_job(j))
end
-- The jobs taken are RUNNING, one attempt further.
local function start_taken()
  local fresh = {}  -- by the flags of a new job: all that are taken together are alike
  for _, flags in ipairs({0, LARGE}) do
    fresh[flags] = start_new(flags, 0, 1, '')
    fresh[flags + TIMED] = fresh[flags]
  end
  local sets, following, again, ran = {}, nil, {}, {}
  for i = 1, #taken do
    local id, job = taken[i], jobs[i]
    if job then
      following = following or followers(taken, self)
      again[#again + 1] = id
      -- A settlement of an earlier attempt that comes late must be told from this one's.
      if sub(job, 28, 31) ~= '\0\0\0\0' then ran[#ran + 1] = id end
      job = start_again(id, job, specs[i], following)
    else
      job = fresh[byte(specs[i], 25)]
    end
    jobs[i] = job
    sets[2 * i - 1], sets[2 * i] = id, job
  end
  call('HSET', P .. 'job', unpack(sets))
  if #again > 0 then call('SREM', P .. 'again', unpack(again)) end
  if #ran > 0 then touch(unpack(ran)) end
  call('SADD', held, unpack(taken))
  call('SET', P .. 'took:' .. INC, take_seq .. ' ' .. table.concat(taken, ' '))
  count('running', #taken)
end

-- The answer to this take was lost: what it got and is still there.
local function take_again()
  local ids = {}
  for id in string.gmatch(call('GET', P .. 'took:' .. INC), ' (%S+)') do ids[#ids + 1] = id end
  local there = call('HMGET', P .. 'job', unpack(ids))
  local its = call('HMGET', P .. 'spec', unpack(ids))
  for i, id in ipairs(ids) do
    local job = there[i]
    if job and byte(job) == RUNNING and sub(job, 12, 27) == worker then
      take(id, job, its[i], 0)
    end
  end
end

-- Types of suspects, of some of those that come next.
local function suspect_types()
  local found = {}
  for _, queue in ipairs(call('LRANGE', P .. 'xturns', 0, PIECE - 1)) do
    for _, type in ipairs(call('HRANDFIELD', P .. 'xlanes:' .. queue, PIECE)) do
      found[type] = true
    end
  end
  return found
end
local function wake_another()
  if call('EXISTS', P .. 'idle') == 0 then return end
  call('HDEL', P .. 'idle', INC)
  local suspects = total('suspect') > 0 and suspect_types() or {}
  if not next(suspects) and call('EXISTS', P .. 'types') == 0 then return end
  local known = {}  -- most have the same types
  wake('', self, function(its)
    if known[its] == nil then
      known[its] = false
      for type in string.gmatch(its, '[^\n]+') do
        if suspects[type] or call('HEXISTS', P .. 'types', type) == 1 then
          known[its] = true
          break
        end
      end
    end
    return known[its]
  end)
end

if want == 0 and settlements == 0 then wake_another() end  -- it was told of work that it leaves
if want > 0 and ARGV[12] == '1' and call('HEXISTS', P .. 'workers', INC) == 0 then
  ending, want = 'l', 0
end
if want > 0 then
  local last = string.match(call('GETRANGE', P .. 'took:' .. INC, 0, 20), '^%d+')
  if last == take_seq then
    take_again()
    ending = 'r'
  elseif tonumber(last or 0) > tonumber(take_seq) then
    ending = 'o'
  else
    if ARGV[10] == '1' and total('suspect') > 0 then take_some('x', 1) end
    local has_suspect = #taken > 0
    if total('queued') > total('suspect') then take_some('', want - #taken) end
    if #taken > 0 then start_taken() end
    if full() and total('queued') > 0 then ending = 'b' end
    if #taken < want and (ending == '' or #taken == 0) then
      if has_suspect and total('suspect') > 0 then wake_another() end  -- it takes no second one
      call('HSET', P .. 'idle', INC, types)
    else
      wake_another()
    end
  end
end
if #taken > 0 then
  local watching = watches(taken)
  for i, id in ipairs(taken) do
    local flags, watch = byte(jobs[i], 10), watching[id] or false
    if flags % MORE > 1 or watch then
      for _, part in ipairs({i, has(flags, LARGE) and call('HGET', P .. 'payload', id),
        has(flags, PROGRESS) and call('HGET', P .. 'progress', id), watch}) do
        extras[#extras + 1] = part
      end
    end
  end
end
return {all_counts(), now, table.concat(letters), details, jobs, specs, extras, ending, over,
  until_earliest(now)}
