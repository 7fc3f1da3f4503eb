#!lua flags=no-writes
-- Jobs that match, newest first; it looks at a bounded number of records.
-- KEYS[1] P
-- ARGV  1 only jobs older than this age ('+inf': all)  2 most jobs to return  3 most records to look
--       at  4 most bytes to return, about  5 queue ('': any)  6 type ('': any)  7 states, a byte
--       each ('': any)
-- Returns {age of the last record looked at, records looked at, 1 when there are older ones, then
-- for each job id, record, spec, outcome without the result, progress}; what is not there is nil.
local before, most, scan, room = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local queue, type, states = ARGV[5], ARGV[6], ARGV[7]
local PIECE = 200
local HEAD_SIZE = struct.size(HEAD)

local function matches(record)
  if states ~= '' and not string.find(states, string.sub(record, 1, 1), 1, true) then
    return false
  end
  if queue == '' and type == '' then return true end
  local its_queue, its_type = struct.unpack('>Bc0Bc0', record, HEAD_SIZE + 1)
  return (queue == '' or queue == its_queue) and (type == '' or type == its_type)
end

-- A serialized Outcome begins with its result: field 1, a length, as many bytes.
local function without_result(outcome)
  if not outcome or string.byte(outcome) ~= 10 then return outcome end
  local length, scale, at = 0, 1, 2
  while true do
    local byte = string.byte(outcome, at)
    at = at + 1
    length = length + byte % 128 * scale
    scale = scale * 128
    if byte < 128 then break end
  end
  return string.sub(outcome, at + length)
end

local answer = {0, 0, 0}
local function add(id, record)
  local spec = redis.call('HGET', P .. 'spec', id)
  local outcome, progress = false, false
  if string.byte(record) > RUNNING then
    outcome = without_result(redis.call('HGET', P .. 'outcome', id))
  end
  if unpack_job(record).flags % (2 * PROGRESS) >= PROGRESS then
    progress = redis.call('HGET', P .. 'progress', id)
  end
  for _, part in ipairs({id, record, spec, outcome, progress}) do
    answer[#answer + 1] = part
    room = room - (part and #part or 0)
  end
end

local looked_at, found = 0, 0
while true do
  local piece = math.min(PIECE, scan - looked_at)
  local ids = redis.call('ZREVRANGEBYSCORE', P .. 'ages', '(' .. before, '-inf', 'WITHSCORES',
    'LIMIT', 0, piece + 1)
  local count = math.min(#ids / 2, piece)
  local names = {}
  for i = 1, count do names[i] = ids[2 * i - 1] end
  local records = count > 0 and redis.call('HMGET', P .. 'job', unpack(names)) or {}
  for i = 1, count do
    if found >= most or room <= 0 then
      answer[3] = 1
      return answer
    end
    looked_at = looked_at + 1
    before = ids[2 * i]
    answer[1], answer[2] = tonumber(before), looked_at
    if records[i] and matches(records[i]) then
      add(names[i], records[i])
      found = found + 1
    end
  end
  if #ids / 2 <= piece then return answer end
  if looked_at >= scan then
    answer[3] = 1
    return answer
  end
end
