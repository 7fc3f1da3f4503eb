#!lua flags=no-writes
-- Jobs that match, newest first; it looks at a bounded number of records.
-- KEYS[1] P
-- ARGV  1 only jobs older than this age ('+inf': all)  2 most jobs to return  3 most records to look
--       at  4 most bytes to return, about  5 queue ('': any)  6 type ('': any)  7 states, a byte
--       each ('': any)  8 submitted at this microsecond or later  9 and before this one  10
--       idempotency key ('': any)  11 a part of the outcome's error ('': any)
-- Returns {age of the last record looked at, records looked at, 1 when there are older ones, the age
-- it has begun below, then for each job id, record, spec, outcome without the result, progress}; what is not there is nil.
local before, most, scan, room = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local queue, type, states = ARGV[5], ARGV[6], ARGV[7]
local from_us, before_us, key, error_text = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10], ARGV[11]
local READ = 4 * 1048576  -- bytes of specs in one call
local IDS = 4096          -- ids in one call, those of jobs that are gone included
local PIECE = 64          -- ids that are looked up together

local function matches(spec, job)
  local state = job and sub(job, 1, 1) or string.char(QUEUED)
  if states ~= '' and not string.find(states, state, 1, true) then return false end
  local submit = unpack_struct('>I8', spec, 9)
  if submit < from_us or submit >= before_us then return false end
  if key ~= '' and sub(spec, 27, 26 + byte(spec, 26)) ~= key then return false end
  if error_text ~= '' then
    local failed = job and byte(job) > SUCCEEDED and has(byte(job, 10), OUTCOME)
    if not failed then return false end
  end
  if queue == '' and type == '' then return true end
  local its_queue, its_type = unpack_struct('>Bc0Bc0', spec, 27 + byte(spec, 26))
  return (queue == '' or queue == its_queue) and (type == '' or type == its_type)
end

-- A serialized Outcome begins with its result: field 1, a length, as many bytes.
local function without_result(outcome)
  if not outcome or byte(outcome) ~= 10 then return outcome end
  local length, scale, at = 0, 1, 2
  while true do
    local seven = byte(outcome, at)
    at = at + 1
    length = length + seven % 128 * scale
    scale = scale * 128
    if seven < 128 then break end
  end
  return sub(outcome, at + length)
end

local answer = {0, 0, 0, 0}
local function add(id, record, spec)
  local outcome, progress = false, false
  local flags = byte(record, 10)
  if has(flags, OUTCOME) then outcome = without_result(call('HGET', P .. 'outcome', id)) end
  if error_text ~= '' and not string.find(outcome or '', error_text, 1, true) then return false end
  if has(flags, PROGRESS) then progress = call('HGET', P .. 'progress', id) end
  for _, part in ipairs({id, record, spec, outcome, progress}) do
    answer[#answer + 1] = part
    room = room - (part and #part or 0)
  end
  return true
end

-- Block by block, each from its end. What is left of a job that went is not older than the one before.
local looked_at, found, read, seen = 0, 0, 0, 0
before = before == '+inf' and tonumber(call('GET', P .. 'age') or 0) + 1 or tonumber(before)
answer[4] = before
while true do
  local block = call('ZREVRANGEBYSCORE', P .. 'ages', math.floor((before - 1) / BLOCK), '-inf',
    'LIMIT', 0, 1)[1]
  if not block then return answer end
  if seen >= IDS then
    answer[1], answer[3] = before, 1
    return answer
  end
  local from = tonumber(block) * BLOCK
  local ids = call('LRANGE', P .. 'ages:' .. block, 0, -1)
  seen = seen + #ids
  for high = #ids, 1, -PIECE do
    local low = math.max(1, high - PIECE + 1)
    local jobs = call('HMGET', P .. 'job', unpack(ids, low, high))
    local specs = call('HMGET', P .. 'spec', unpack(ids, low, high))
    for i = high, low, -1 do
      local job, spec = jobs[i - low + 1], specs[i - low + 1]
      local age = spec and unpack_struct('>I8', spec) or before
      if age >= from and age < before then
        if found >= most or room <= 0 or looked_at >= scan or read >= READ then
          answer[3] = 1
          return answer
        end
        looked_at = looked_at + 1
        before, read = age, read + #spec
        answer[1], answer[2] = age, looked_at
        if matches(spec, job) and add(ids[i], whole(spec, job), only_spec(spec)) then
          found = found + 1
        end
      end
    end
  end
  before = from
end
