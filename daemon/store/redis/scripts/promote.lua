#!lua flags=allow-oom
-- Queues SCHEDULED jobs that are due, behind the others, and ends waiting ones whose time is over:
-- those first whose time came first.
-- KEYS[1] P
-- ARGV  1 clock  2 INC of the caller  3 most jobs  4 most entries to look at  5 finished jobs of a
--       queue  6 bytes of an outcome that is told
-- Returns {counts, how many jobs that were, milliseconds until the next time (-1: none), how many of
-- them are queued, those that have ended (record, spec, outcome, progress)}.
-- One script, because a job must be moved by one caller only.
local now, self, most, looks = now_us(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now_ms = math.floor(now / 1000)
local moved, queued, ended = 0, 0, {}
local lanes, by_name = {}, {}
local again, sets, types, gone = {}, {}, {}, {due = {}, over = {}}
local last_age = nil

-- Jobs that are queued are written together.
local function queue_job(id, job, spec)
  last_age = (last_age or tonumber(call('GET', P .. 'age') or 0)) + 1
  local place, at = pack('>I8', last_age), times_at(job)
  sets[#sets + 1] = id
  sets[#sets + 1] = string.char(QUEUED) .. sub(job, 2, at - 1) .. ZERO .. place .. sub(job, at + 16)
  again[#again + 1] = id
  local queue, type = unpack_struct('>Bc0Bc0', spec, 27 + byte(spec, 26))
  local x = byte(job, 11) >= SUSPECT and 'x' or ''
  local name = x .. '\n' .. queue .. '\n' .. type
  local lane = by_name[name]
  if not lane then
    lane = {x = x, queue = queue, type = type, entries = {}}
    lanes[#lanes + 1], by_name[name] = lane, lane
  end
  lane.entries[#lane.entries + 1] = place .. id
  queued = queued + 1
end
local function write_queued()
  for from = 1, #sets, 4000 do
    call('HSET', P .. 'job', unpack(sets, from, math.min(#sets, from + 3999)))
  end
  call_many('SADD', P .. 'again', again)
  for _, lane in ipairs(lanes) do
    call_many('RPUSH', P .. lane.x .. 'lane:' .. lane.queue .. ':' .. lane.type, lane.entries)
    add_waiting(lane.x, lane.queue, lane.type, #lane.entries)
    add_scheduled(lane.queue, -#lane.entries)
    types[lane.type] = true
  end
  lanes, by_name, again, sets = {}, {}, {}, {}
end
local function end_now(id, j, how)
  if j.state == QUEUED then
    write_queued()  -- else its queue may seem to be empty, and lose its turn
    leave_lane(id, j)
  else
    add_scheduled(j.queue, -1)
  end
  leave_times(id, j)
  ended[#ended + 1] = end_overdue(id, j, how, now, tonumber(ARGV[5]), tonumber(ARGV[6]), self)
end
-- A job whose time has come; entries of those that wait for none any more stand for nothing.
local function move(order, entry, spec, job)
  local id = sub(entry, 9)
  if spec == nil then spec, job = call('HGET', P .. 'spec', id), call('HGET', P .. 'job', id) end
  local state = job and byte(job) or QUEUED
  gone[order][#gone[order] + 1] = entry
  if not spec or sub(spec, 1, 8) ~= sub(entry, 1, 8) or state > QUEUED or
    (order == 'due' and state == QUEUED) then return end
  local how = nil
  if order == 'over' or has(byte(spec, 25), TIMED) then
    local j = unpack_job(whole(spec, job))
    how = how_over(j, now)
    if how then end_now(id, j, how) end
  end
  if state == SCHEDULED and not how then queue_job(id, job, spec) end
  moved = moved + 1
end

local function age_of(entry) return (unpack_struct('>I8', entry)) end
-- The entries of both orders, in one.
local function read(order, piece)
  return call('ZRANGEBYSCORE', P .. order, '-inf', now_ms, 'WITHSCORES', 'LIMIT', 0, piece)
end
-- P spec and P job of those that are due, when none of them can end before its turn comes.
local function look_up(due, over)
  if #due == 0 or #over > 0 then return {}, {} end
  local ids = {}
  for i = 1, #due, 2 do ids[#ids + 1] = sub(due[i], 9) end
  return call('HMGET', P .. 'spec', unpack(ids)), call('HMGET', P .. 'job', unpack(ids))
end
local function forget_entries()
  for order, entries in pairs(gone) do
    call_many('ZREM', P .. order, entries)
    gone[order] = {}
  end
end
while moved < most and looks > 0 do
  local piece = math.min(most - moved, looks)
  local due, over = read('due', piece), read('over', piece)
  if #due + #over == 0 then break end
  local specs, jobs = look_up(due, over)
  local d, o = 1, 1
  for _ = 1, math.min(piece, (#due + #over) / 2) do
    local is_over = not due[d] or (over[o] and (tonumber(over[o + 1]) < tonumber(due[d + 1]) or
      (over[o + 1] == due[d + 1] and age_of(over[o]) < age_of(due[d]))))
    if is_over then
      move('over', over[o])
      o = o + 2
    else
      move('due', due[d], specs[(d + 1) / 2], jobs[(d + 1) / 2])
      d = d + 2
    end
    looks = looks - 1
  end
  forget_entries()
end

write_queued()
if last_age then call('SET', P .. 'age', text(last_age)) end
for type in pairs(types) do wake(type, self) end

local next_ms = nil
for _, order in ipairs({'due', 'over'}) do
  local first = tonumber(call('ZRANGE', P .. order, 0, 0, 'WITHSCORES')[2])
  if first and (not next_ms or first < next_ms) then next_ms = first end
end
return {all_counts(), moved, next_ms and math.max(0, next_ms - now_ms) or -1, queued, ended}
