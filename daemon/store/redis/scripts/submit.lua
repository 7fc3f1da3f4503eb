#!lua
-- Stores new jobs as QUEUED, or as SCHEDULED when they are due later.
-- KEYS[1] P
-- ARGV  1 clock  2 INC of the caller  3 most queued jobs of a queue  4 N lanes, then for each its
--       queue and type; then three bytes for each job: its lane (from 1), 1 when the store has made
--       the id, and what follows: LARGE a payload, KEY an idempotency key, BRIEF that job's retention
--       is 0, DUE microseconds when it is due, after a '+' from now on, TIMED nothing (P spec has that
--       flag); then for each job: id; what
--       P spec has from `keep` on; payload; the name of its key and what P key has, with 0 for the
--       time; when it is due
-- Returns {counts, a letter for each job, the ids of those with the letter k, milliseconds until the
--       first time of new ones (-1: none)}. Letters: n new and QUEUED, t new and SCHEDULED, e the
--       same id and spec were there, s the id has another spec, m the id is taken (make another), k
--       the key is that of a job, o the key was used for something else, f the queue is full.
-- One script, because an id, a key and a queue's bound hold for one job at a time.
local KEY, BRIEF, DUE = 4, 8, 16
local now, self, most = now_us(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local lanes, at = {}, 5
for i = 1, ARGV[4] do
  lanes[i] = {queue = ARGV[at], type = ARGV[at + 1], entries = {}}
  at = at + 2
end

-- The jobs, and what is known of their ids and keys.
local metas, ids, specs, names, values, payloads, dues = ARGV[at], {}, {}, {}, {}, {}, {}
local asked, asking = {}, {}
local n = #metas / 3
at = at + 1
for i = 1, n do
  local follows = byte(metas, 3 * i)
  ids[i], specs[i] = ARGV[at], ARGV[at + 1]
  at = at + 2
  if follows > 0 then
    if has(follows, LARGE) then
      payloads[i] = ARGV[at]
      at = at + 1
    end
    if has(follows, KEY) then
      names[i], values[i] = ARGV[at], ARGV[at + 1]
      at = at + 2
      asked[#asked + 1] = names[i]
      asking[#asking + 1] = i
    end
    if has(follows, DUE) then
      dues[i] = (sub(ARGV[at], 1, 1) == '+' and now or 0) + tonumber(ARGV[at])
      at = at + 1
    elseif has(follows, TIMED) then
      dues[i] = now
    end
  end
end
local there = call('HMGET', P .. 'spec', unpack(ids))
local known = {}
if #asked > 0 then
  for i, value in ipairs(call('HMGET', P .. 'key', unpack(asked))) do known[asking[i]] = value end
end

local room = {}  -- by queue
local function has_room(queue)
  if not room[queue] then
    room[queue] = most - tonumber(call('HGET', P .. 'count', 'q:' .. queue) or 0)
  end
  if room[queue] <= 0 then return false end
  room[queue] = room[queue] - 1
  return true
end

-- What P keys says of the keys asked for whose time has come: name -> id -> list and entry. Of what
-- nobody has forgotten yet it looks at a part.
local overdue
local function find_overdue(now_ms)
  local wanted, looks = {}, 4000
  for _, name in ipairs(asked) do wanted[name] = true end
  overdue = {}
  local seconds = call('ZRANGEBYSCORE', P .. 'keys', '-inf', math.floor(now_ms / 1000), 'LIMIT', 0,
    1000)
  for _, second in ipairs(seconds) do
    if looks <= 0 then break end
    local list = P .. 'keys:' .. second
    local entries = call('LRANGE', list, 0, looks - 1)
    looks = looks - #entries
    for _, entry in ipairs(entries) do
      local ms, id, name = of_key(entry)
      if wanted[name] and ms <= now_ms then
        overdue[name] = overdue[name] or {}
        overdue[name][id] = overdue[name][id] or {list, entry}
      end
    end
  end
end
-- Whether a key counts no more whose job is gone.
local ended = {}  -- by name, what P keys says of it: no more once another job has the key
local function is_over(name, value)
  local now_ms = math.floor(now / 1000)
  local expire = unpack_struct('>I8', value, 17)
  if expire > 0 then return expire <= now_ms end
  if not overdue then find_overdue(now_ms) end
  ended[name] = (overdue[name] or {})[sub(value, 25)]
  return ended[name] ~= nil
end

local new_ids, new_keys = {}, {}
local key_ids = {}
-- Why the job is not new, or nil.
local function refuse(i, lane)
  local id, name = ids[i], names[i]
  local value = name and new_keys[name] or known[i]
  if value and not new_keys[name] then
    if not has_job(name, value) and is_over(name, value) then value = nil end
  end
  if value then
    if sub(value, 1, 16) ~= sub(values[i], 1, 16) then return 'o' end
    key_ids[#key_ids + 1] = sub(value, 25)
    return 'k'
  end
  if there[i] or new_ids[id] then
    if byte(metas, 3 * i - 1) == 1 then return 'm' end
    local same
    if new_ids[id] then
      same = only_spec(specs[new_ids[id]]) == only_spec(ZERO .. ZERO .. specs[i]) and
        payloads[new_ids[id]] == payloads[i]
    else
      same = only_spec(there[i]) == only_spec(ZERO .. ZERO .. specs[i]) and
        (call('HGET', P .. 'payload', id) or nil) == payloads[i]
    end
    return same and 'e' or 's'
  end
  if not has_room(lane.queue) then return 'f' end
end

local letters, kept_specs, kept_jobs, kept_keys, seconds = {}, {}, {}, {}, {}
local later = {}  -- SCHEDULED jobs of a queue
local fresh, opened = {}, {}
-- A new job with a time. True: it is due later.
local function enter_timed(id, spec, due, queue)
  local job = false
  if due > now then
    job = string.char(SCHEDULED) .. ZERO .. string.char(with(byte(spec, 25), TIMES)) ..
      string.rep('\0', 29) .. pack('>I8', due) .. string.rep(ZERO, 3)
    kept_jobs[#kept_jobs + 1] = id
    kept_jobs[#kept_jobs + 1] = job
    later[queue] = (later[queue] or 0) + 1
  end
  enter_times(id, unpack_job(whole(spec, job)))
  return due > now
end
local submitted = pack('>I8', now)
local brief_ms = math.floor(now / 1000) + KEY_MS
local brief = pack('>I8', brief_ms)
local age = tonumber(call('GET', P .. 'age') or 0)
for i = 1, n do
  local id, name = ids[i], names[i]
  local lane = lanes[byte(metas, 3 * i - 2)]
  local letter
  if there[i] or known[i] or new_keys[name or ''] or new_ids[id] or not room[lane.queue] or
    room[lane.queue] <= 0 then
    letter = refuse(i, lane)
  else
    room[lane.queue] = room[lane.queue] - 1
  end
  letters[i] = letter or 'n'
  if not letter then
    age = age + 1
    local age8 = pack('>I8', age)
    new_ids[id] = i
    fresh[#fresh + 1] = id
    specs[i] = age8 .. submitted .. specs[i]
    if dues[i] and enter_timed(id, specs[i], dues[i], lane.queue) then
      letters[i] = 't'
    else
      if #lane.entries == 0 then opened[#opened + 1] = lane end
      lane.entries[#lane.entries + 1] = age8 .. id
    end
    kept_specs[#kept_specs + 1] = id
    kept_specs[#kept_specs + 1] = specs[i]
    if payloads[i] then call('HSET', P .. 'payload', id, payloads[i]) end
    if name then
      local value = values[i]
      if has(byte(metas, 3 * i), BRIEF) then
        value = sub(value, 1, 16) .. brief .. id
        expire_key(seconds, name, id, brief_ms)
      end
      if ended[name] then call('LREM', ended[name][1], 1, ended[name][2]) end
      new_keys[name] = value
      kept_keys[#kept_keys + 1] = name
      kept_keys[#kept_keys + 1] = value
    end
  end
end

local count_new = #fresh
if count_new > 0 then
  call('HSET', P .. 'spec', unpack(kept_specs))
  if #kept_jobs > 0 then call('HSET', P .. 'job', unpack(kept_jobs)) end
  for queue, n in pairs(later) do add_scheduled(queue, n) end
  if #kept_keys > 0 then call('HSET', P .. 'key', unpack(kept_keys)) end
  keep_seconds(seconds)
  call('SET', P .. 'age', string.format('%.0f', age))
  -- The first of them has the age `from`.
  local from, done = age - count_new + 1, 0
  while done < count_new do
    local block = math.floor((from + done) / BLOCK)
    local piece = math.min(count_new - done, (block + 1) * BLOCK - from - done)
    local name = string.format('%.0f', block)
    if call('RPUSH', P .. 'ages:' .. name, unpack(fresh, done + 1, done + piece)) == piece then
      call('ZADD', P .. 'ages', name, name)
    end
    call('HINCRBY', P .. 'live', name, piece)
    done = done + piece
  end
  local told = {}
  for _, lane in ipairs(opened) do  -- queues come in turn as their first jobs came
    call('RPUSH', P .. 'lane:' .. lane.queue .. ':' .. lane.type, unpack(lane.entries))
    add_waiting('', lane.queue, lane.type, #lane.entries)
    if not told[lane.type] then wake(lane.type, self) end
    told[lane.type] = true
  end
end
return {all_counts(), table.concat(letters), key_ids, until_earliest(now)}
