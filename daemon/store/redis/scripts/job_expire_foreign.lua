#!lua flags=allow-oom
-- Ends queued jobs of types that no live process has had a handler for, for too long.
-- KEYS[1] P
-- ARGV  1 clock  2 INC of the caller  3 finished jobs of a queue  4 bytes of an outcome that is told
--       5 how long is too long, in microseconds  6 most jobs to end  7 most lanes to look at
--       8 how often somebody looks, in microseconds, then the types that live processes have
-- Returns {counts, more, types, ended}: 1 when there may be more to end now, the types that nobody has,
-- and those that have ended (record, spec, outcome, progress).
-- One script, because a job that is taken meanwhile must not end.
local now, self, late, room, looks = now_us(ARGV[1]), ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6]),
  tonumber(ARGV[7])
local FOREIGN, PIECE = P .. 'foreign', 100
local known = {}
for i = 9, #ARGV do known[ARGV[i]] = true end
-- With none at all, all of them are down: that says nothing about a type.
if #ARGV < 9 then
  call('DEL', FOREIGN)
  return {all_counts(), 0, {}, {}}
end

-- The lanes of such types.
local lanes, types = {}, {}
for _, x in ipairs({'', 'x'}) do
  for from = 0, looks, PIECE do
    local queues = call('LRANGE', P .. x .. 'turns', from, from + PIECE - 1)
    for _, queue in ipairs(queues) do
      for _, type in ipairs(looks > 0 and call('HKEYS', P .. x .. 'lanes:' .. queue) or {}) do
        looks = looks - 1
        if not known[type] then
          lanes[#lanes + 1] = {x = x, queue = queue, type = type}
          types[type] = true
        end
      end
    end
    if #queues < PIECE or looks <= 0 then break end
  end
end

-- Since when nobody has them.
local since = {}
local looked = tonumber(call('HGET', FOREIGN, '') or 0)
if now - looked > 2 * tonumber(ARGV[8]) then call('DEL', FOREIGN) end  -- nobody was there to see
call('HSET', FOREIGN, '', text(now))
local before = call('HGETALL', FOREIGN)
for i = 1, #before, 2 do
  if types[before[i]] then
    since[before[i]] = tonumber(before[i + 1])
  elseif before[i] ~= '' then
    call('HDEL', FOREIGN, before[i])
  end
end
local names = {}
for type in pairs(types) do
  names[#names + 1] = type
  if not since[type] then
    since[type] = now
    call('HSET', FOREIGN, type, text(now))
  end
end

local ended = {}
local dead_left = 1000  -- entries that stand for no job, in one call
local function end_oldest(lane)
  local key = P .. lane.x .. 'lane:' .. lane.queue .. ':' .. lane.type
  while room > 0 and dead_left > 0 do
    local entry = call('LINDEX', key, 0)
    if not entry then return end
    local id = sub(entry, 9)
    local j = is_queued(entry) and unpack_job(stored(id))
    if j and j.submit + late > now then return end
    call('LPOP', key)
    if not j then
      dead_left = dead_left - 1
    else
      room = room - 1
      leave_waiting(lane.x, lane.queue, lane.type, 1)
      leave_times(id, j)
      j.state, j.finish = DEAD, now
      local message = "no live worker has had a handler for type '" .. j.type .. "' for " ..
        text(late / 60000000) .. ' minutes: start one that has, then retry the job'
      local outcome = '\18\10no_handler\26' .. varint(#message) .. message
      local spec, progress = spec_of(id), call('HGET', P .. 'progress', id)
      local record = end_job(id, j, outcome, tonumber(ARGV[3]), tonumber(ARGV[4]), self)
      ended[#ended + 1] = {record, spec, outcome, progress}
    end
  end
end
for _, lane in ipairs(lanes) do
  if since[lane.type] + late <= now then end_oldest(lane) end
end
return {all_counts(), room > 0 and dead_left > 0 and 0 or 1, names, ended}
