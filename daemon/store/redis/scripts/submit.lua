#!lua
-- Stores new jobs as QUEUED.
-- KEYS[1] P
-- ARGV  1 clock  2 INC of the caller  3 most queued jobs of a queue  4 N lanes  then for each its
--       queue and type; then for each job: a byte with its lane (from 1), a byte of flags, a byte
--       that is 1 when the store has made the id, and the key's fingerprint; id; its record from
--       `keep` on; spec; idempotency key; with the flag LARGE also the payload
-- Returns {counts, a letter for each job, the ids of those with the letter k}. Letters: n new, e the
--       same id and spec were there, s the id has another spec, m the id is taken (make another), k
--       the key is that of a job, o the key was used for something else, f the queue is full.
-- One script, because an id, a key and a queue's bound hold for one job at a time.
local now, self, most = now_us(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local lanes, at = {}, 5
for i = 1, ARGV[4] do
  lanes[i] = {queue = ARGV[at], type = ARGV[at + 1], entries = {}}
  at = at + 2
end

-- The jobs, and what is known of their ids and keys.
local meta, ids, tails, specs, keys, payloads = {}, {}, {}, {}, {}, {}
local names, asked = {}, {}
local n = 0
while ARGV[at] do
  n = n + 1
  meta[n], ids[n], tails[n], specs[n], keys[n] =
    ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  at = at + 5
  if has(byte(meta[n], 2), LARGE) then
    payloads[n] = ARGV[at]
    at = at + 1
  end
  if keys[n] ~= '' then
    names[#names + 1] = lanes[byte(meta[n])].queue .. '\n' .. keys[n]
    asked[#asked + 1] = n
  end
end
local there = call('HMGET', P .. 'job', unpack(ids))
local known = {}
if #names > 0 then
  local values = call('HMGET', P .. 'key', unpack(names))
  for i = 1, #names do known[asked[i]] = values[i] end
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

local new_ids, new_keys = {}, {}
local key_ids = {}
-- Why the job is not new, or nil.
local function refuse(i, lane, name)
  local id = ids[i]
  local value = name and new_keys[name] or known[i]
  if value and not new_keys[name] then
    local expire = unpack_struct('>I8', value, 17)
    if expire > 0 and expire <= math.floor(now / 1000) then value = nil end
  end
  if value then
    if sub(value, 1, 16) ~= sub(meta[i], 4) then return 'o' end
    key_ids[#key_ids + 1] = sub(value, 25)
    return 'k'
  end
  if there[i] or new_ids[id] then
    if byte(meta[i], 3) == 1 then return 'm' end
    local same
    if new_ids[id] then
      same = specs[new_ids[id]] == specs[i] and payloads[new_ids[id]] == payloads[i]
    else
      same = call('HGET', P .. 'spec', id) == specs[i] and
        (call('HGET', P .. 'payload', id) or nil) == payloads[i]
    end
    return same and 'e' or 's'
  end
  if not has_room(lane.queue) then return 'f' end
end

local letters, records, kept_specs, kept_keys = {}, {}, {}, {}
local fresh, opened = {}, {}
local head, rest, submitted = string.char(QUEUED) .. ZERO, string.rep('\0', 37), pack('>I8', now)
local age = tonumber(call('GET', P .. 'age') or 0)
for i = 1, n do
  local id, key = ids[i], keys[i]
  local lane = lanes[byte(meta[i])]
  local name = key ~= '' and lane.queue .. '\n' .. key or nil
  local letter
  if there[i] or name or new_ids[id] or not room[lane.queue] or room[lane.queue] <= 0 then
    letter = refuse(i, lane, name)
  else
    room[lane.queue] = room[lane.queue] - 1
  end
  letters[i] = letter or 'n'
  if not letter then
    age = age + 1
    local age8 = pack('>I8', age)
    new_ids[id] = i
    fresh[#fresh + 1] = id
    if #lane.entries == 0 then opened[#opened + 1] = lane end
    lane.entries[#lane.entries + 1] = age8 .. id
    records[#records + 1] = id
    records[#records + 1] = head .. sub(meta[i], 2, 2) .. rest .. age8 .. submitted .. tails[i]
    kept_specs[#kept_specs + 1] = id
    kept_specs[#kept_specs + 1] = specs[i]
    if payloads[i] then call('HSET', P .. 'payload', id, payloads[i]) end
    if name then
      new_keys[name] = sub(meta[i], 4) .. ZERO .. id
      kept_keys[#kept_keys + 1] = name
      kept_keys[#kept_keys + 1] = new_keys[name]
    end
  end
end

local count_new = #fresh
if count_new > 0 then
  call('HSET', P .. 'job', unpack(records))
  call('HSET', P .. 'spec', unpack(kept_specs))
  if #kept_keys > 0 then call('HSET', P .. 'key', unpack(kept_keys)) end
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
return {all_counts(), table.concat(letters), key_ids}
