#!lua flags=allow-oom
-- Ends attempts, then takes queued jobs: oldest first in a queue, queues in turn.
-- KEYS[1] P
-- ARGV  1 clock  2 INC of the caller  3 the worker that takes (16 bytes)  4 finished jobs of a queue
--       5 bytes of an outcome or block that is told whole  6 take_seq  7 most jobs to take  8 stop
--       at so many bytes of spec and payload  9 name of the worker  10 '1': one may be a suspect
--       11 its types, each between newlines (empty: any)  12 '1': take nothing without a lease
--       13 N types with room of their own, then each with its room; then M groups of settlements,
--       each of one queue, its retention in milliseconds, what the caller thinks P job has of each
--       from the flags on, and without a retention ">I8" of the first submission, then of blocks of
--       ages and their jobs; then K settlements (no job twice): first four bytes for each, with the
--       state, what follows (1 the last sequence, 2 an outcome, 4 a progress) and the group as ">I2"
--       (from 1; 0: the caller does not know the job); then K job ids; then for each the token
--       (worker, attempt as ">I4") if it has no group, and what follows
-- Returns {counts, now, a letter for each settlement, details, jobs, specs, extras, letter}.
--       Letters: d done, D done with details, a done before (with details), n no such job, N the
--       same with details of how it ended, s stale,
--       g gap (details with the last sequence stored as outcome). Details: for each its index,
--       record, outcome, progress, JobSpec (if the caller does not know the job). The jobs taken:
--       what P job and P spec have, and for some their index, payload, progress and watch in extras.
--       The last letter: b there is more (it stopped at the bytes, or has looked at much), l the lease
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
    gone = ARGV[its + 3], ids = {}, ends = {}}
end
at = at + 1 + 4 * #groups

-- 1. Settlements. In the common case not even P job is read; all others go one by one.
local FATE_S = 3600
local letters, details = {}, {}
local function detail(...)
  for _, part in ipairs({...}) do details[#details + 1] = part end
end

local function settle_any(i, id, record, state, unknown, last, outcome, progress)
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
  if has(j.flags, CANCEL) and state == DEAD then
    state, outcome = CANCELLED, outcome .. cancelled_outcome(j.reason)
  end
  j.state, j.finish = state, now
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

local settlements = tonumber(ARGV[at])
if settlements > 0 then
  local hows, first = ARGV[at + 1], at + 2
  local touched = call('EXISTS', P .. 'touched') == 1 and
    call('SMISMEMBER', P .. 'touched', unpack(ARGV, first, at + 1 + settlements))
  at = at + settlements + 2
  local following = followers({unpack(ARGV, first, first + settlements - 1)}, self)
  -- What it holds and nobody has touched is as its worker thinks.
  local trusted, left = {}, {}
  for i = 1, settlements do
    local _, follows, high, low = byte(hows, 4 * i - 3, 4 * i)
    if (follows == 0 or follows == 2) and high + low > 0 and
      not (touched and touched[i] == 1) then
      trusted[i] = true
      left[#left + 1] = ARGV[first + i - 1]
    end
  end
  if #left > 0 and call('SREM', held, unpack(left)) == #left then
    count('running', -#left)
  else
    trusted = {}
  end
  local finish = pack('>I8', now)
  local sets, outcomes = {}, {}
  for i = 1, settlements do
    local id = ARGV[first + i - 1]
    local state, follows, high, low = byte(hows, 4 * i - 3, 4 * i)
    local group, token, last, outcome, progress = groups[high * 256 + low], nil, 0, '', ''
    if not group then token, at = ARGV[at], at + 1 end
    if follows > 0 then
      if has(follows, 1) then last, at = unpack_struct('>I8', ARGV[at]), at + 1 end
      if has(follows, 2) then outcome, at = ARGV[at], at + 1 end
      if has(follows, 4) then progress, at = ARGV[at], at + 1 end
    end
    if trusted[i] then
      letters[i] = 'd'
      local ends = group.ends[state]
      if not ends then
        local thought = group.thought
        ends = {ids = {}, job = string.char(state) .. finish .. thought}
        ends.with_outcome = string.char(state) .. finish .. string.char(byte(thought) + OUTCOME) ..
          sub(thought, 2)
        group.ends[state] = ends
      end
      local job = ends.job
      if group.keep == 0 then
        group.job = job
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
      if following[id] then
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
        letters[i] = settle_any(i, id, record, state, not group, last, outcome, progress)
      else
        letters[i] = byte(record) >= SUCCEEDED and settled_before(i, id, record, not group) or 's'
      end
    end
  end
  if #sets > 0 then call('HSET', P .. 'job', unpack(sets)) end
  if #outcomes > 0 then call('HSET', P .. 'outcome', unpack(outcomes)) end
  for _, group in ipairs(groups) do
    local ended, there = 0, 0
    for state, ends in pairs(group.ends) do
      if #ends.ids > 0 then
        there = keep_finished(group.queue, state, now, group.keep, ends.ids)
        ended = ended + #ends.ids
      end
    end
    if ended > 0 then trim_finished(group.queue, there, ended, kept) end
    if #group.ids > 0 then forget_group(group) end
  end
end

-- 2. Jobs for the worker.
local taken, jobs, specs, extras, ending = {}, {}, {}, {}, ''
local bytes = 0

local function has_room(type)
  return not rooms or (rooms[type] or 1) > 0
end
local function use_room(type, n)
  if rooms and rooms[type] then rooms[type] = rooms[type] - n end
end
local function full() return bytes >= most_bytes end
local function size_of(id, spec)
  return #spec + (byte(spec, 25) == 0 and 0 or call('HSTRLEN', P .. 'payload', id))
end
local function take(id, job, spec, size)
  local place = #taken + 1
  taken[place], jobs[place], specs[place] = id, job, spec
  bytes = bytes + size
end

-- Lanes, and entries that stand for no job, at which one call looks at most about; and before that
-- at lanes of suspects, as nothing says of which types these are.
local LOOKS, SUSPECT_LOOKS = 4000, 500
local looks, most_looks, dead = 0, 0, 0
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
  local n, used = #entries, 0
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
    if bytes >= most_bytes then break end
    local spec = its[i]
    local place = #taken + 1
    taken[place], jobs[place], specs[place] = ids[i], there[i] or false, spec
    bytes = bytes + (byte(spec, 25) == 0 and #spec or size_of(ids[i], spec))
    used = i
  end
  for i = n, used + 1, -1 do call('LPUSH', lane, entries[i]) end
  leave_waiting(x, queue, type, used)
  use_room(type, used)
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
      take(item[1], item[2], item[3], size_of(item[1], item[3]))
      use_room(lane.type, 1)
      most = most - 1
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

-- A job that ran before.
local function start_again(id, job, spec, following)
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
  local following
  local fresh = {}  -- by the flags of a new job: all that are taken together are alike
  for _, flags in ipairs({0, LARGE}) do
    fresh[flags] = string.char(RUNNING) .. ZERO .. string.char(flags) .. '\0' .. worker ..
      pack('>I4I8', 1, now) .. ARGV[9]
  end
  local sets = {}
  for i = 1, #taken do
    local id, job = taken[i], jobs[i]
    if job then
      following = following or followers(taken, self)
      job = start_again(id, job, specs[i], following)
      call('SREM', P .. 'again', id)
      touch(id)  -- a settlement of an earlier attempt that comes late must be told from this one's
    else
      job = fresh[byte(specs[i], 25)]
    end
    jobs[i] = job
    sets[2 * i - 1], sets[2 * i] = id, job
  end
  call('HSET', P .. 'job', unpack(sets))
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
return {all_counts(), now, table.concat(letters), details, jobs, specs, extras, ending}
