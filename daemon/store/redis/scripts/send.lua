#!lua
-- Stores a value for a job that has not ended.
-- KEYS[1] P
-- ARGV  1 INC of the caller  2 job id  3 sender  4 the sender's number  5 value  6 most values that
--       the job has not looked at  7 values kept
-- Returns {letter, number}: n new, k known before, e the job has ended (its state instead of a
--       number), f too many; or nil when there is no such job.
-- One script, because numbers rise by one and a sender's number counts once.
local self, id, sender, number, value = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local kept = tonumber(ARGV[7])
local record = stored(id)
if not record then return false end
local sends, senders = P .. 'sends:' .. id, P .. 'sender:' .. id

local function member(its_sender, its_number, given)
  return string.char(#its_sender) .. its_sender .. pack('>I8', its_number) .. given
end

-- The number a repeated send got before: its own, or that of the sender's next one.
local function find()
  local from = '[' .. member(sender, number, '')
  local to = '(' .. string.char(#sender) .. sender .. string.rep('\255', 16)
  local known = call('ZRANGEBYLEX', senders, from, to, 'LIMIT', 0, 1)[1]
  return known and unpack_struct('>I8', known, #known - 7)
end

local named = sender ~= '' and number > 0
local before = named and find()
if before then return {'k', before} end
if byte(record) >= SUCCEEDED then return {'e', byte(record)} end
local consumed, last = unpack_struct('>I8', record, 40), unpack_struct('>I8', record, 96)
if last - consumed >= tonumber(ARGV[6]) then return {'f', last} end
local given = last + 1
if last >= kept and call('XLEN', sends) >= kept then
  local oldest = call('XRANGE', sends, '-', '+', 'COUNT', 1)[1]
  local its_given = pack('>I8', tonumber(string.match(oldest[1], '^%d+')))
  call('ZREM', senders, member(oldest[2][2], tonumber(oldest[2][4]), its_given))
  call('XDEL', sends, oldest[1])
end
call('XADD', sends, string.format('%.0f-0', given), 's', sender, 'n', ARGV[4], 'v', value)
if named then call('ZADD', senders, 0, member(sender, number, pack('>I8', given))) end
store(id, sub(record, 1, 95) .. pack('>I8', given) .. sub(record, 104))
if byte(record) == RUNNING then
  touch(id)
  local worker = hex(sub(record, 12, 27))
  if worker ~= self then publish(worker, 's', id, pack('>I8', given) .. value) end
end
return {'n', given}
