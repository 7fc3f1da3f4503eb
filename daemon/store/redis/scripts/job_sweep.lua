#!lua flags=allow-oom
-- Forgets finished jobs whose time is over, and entries of lists that stand for no job.
-- KEYS[1] P
-- ARGV  1 most jobs to forget  2 most entries to look at  3 INC of the caller  4 offset of the clock
-- Returns how many jobs it forgot. (Idempotency keys have a time to live of their own.)
-- One script, because everything of a job goes together.
local now = now_us(ARGV[4])
local over = redis.call('ZRANGEBYSCORE', P .. 'expire', '-inf', math.floor(now / 1000), 'LIMIT', 0,
  ARGV[1])
local following = followers(over, ARGV[3])
for _, id in ipairs(over) do
  local j = unpack_job(redis.call('HGET', P .. 'job', id))
  leave_finished(id, j)
  forget(id, j, now)
  redis.call('HINCRBY', P .. 'count', 'removed', 1)
  tell_all(following[id], 'x', id)
end

-- Entries of dead ones are dropped when they are most of a list. Of what is too much to be looked at
-- at once another part is every second.
local FIELDS, FEW = 50, 100
local second, room = math.floor(now / 1000000), tonumber(ARGV[2])

local function is_queued(j, age) return j.state == QUEUED and j.age == age end
local function has_finished(j, finish) return j.state >= SUCCEEDED and j.finish == finish end

local function tidy(list, live, means)
  local length = redis.call('LLEN', list)
  if length < 2 * live + FEW or room == 0 then return end
  local most = math.min(room, length)
  local from = second % math.ceil(length / most) * most
  local entries = redis.call('LRANGE', list, from, from + most - 1)
  room = room - #entries
  local gone = 0
  for i, entry in ipairs(entries) do
    local number, at = struct.unpack('>I8', entry)
    local record = redis.call('HGET', P .. 'job', entry:sub(at))
    if not (record and means(unpack_job(record), number)) then
      redis.call('LSET', list, from + i - 1, '')
      gone = gone + 1
    end
  end
  -- From the nearer end, and no further than the last of them.
  if gone > 0 then redis.call('LREM', list, from < length / 2 and gone or -gone, '') end
end

local counts = redis.call('HRANDFIELD', P .. 'count', FIELDS, 'WITHVALUES')
for i = 1, #counts, 2 do
  local kind, queue = counts[i]:match('^(.):(.*)$')
  if kind == 'f' then tidy(P .. 'done:' .. queue, tonumber(counts[i + 1]), has_finished) end
  for _, x in ipairs(kind == 'q' and {'', 'x'} or {}) do
    local types = redis.call('HRANDFIELD', P .. x .. 'lanes:' .. queue, FIELDS, 'WITHVALUES')
    for k = 1, #types, 2 do
      tidy(P .. x .. 'lane:' .. queue .. ':' .. types[k], tonumber(types[k + 1]), is_queued)
    end
  end
end
return #over
