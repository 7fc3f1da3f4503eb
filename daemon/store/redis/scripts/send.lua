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

-- The number a repeated send got before: its own, or that of the sender's next one.
local function find()
  local known = call('HGET', senders, sender)
  local last = known and tonumber(string.match(known, '^%d+'))
  if not last or number > last then return nil end
  local next, before = nil, '+'
  while true do
    local entries = call('XREVRANGE', sends, before, '-', 'COUNT', 16)
    for _, entry in ipairs(entries) do
      local its = tonumber(entry[2][4])
      if entry[2][2] == sender and its > 0 then
        if its < number then return next end
        next = tonumber(string.match(entry[1], '^%d+'))
        if its == number then return next end
      end
    end
    if #entries < 16 then return next end
    before = '(' .. entries[#entries][1]
  end
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
  local its = call('HGET', senders, oldest[2][2])
  if its and string.match(its, ' (%d+)$') == string.match(oldest[1], '^%d+') then
    call('HDEL', senders, oldest[2][2])
  end
  call('XDEL', sends, oldest[1])
end
call('XADD', sends, string.format('%.0f-0', given), 's', sender, 'n', ARGV[4], 'v', value)
if named then call('HSET', senders, sender, string.format('%.0f %.0f', number, given)) end
store(id, sub(record, 1, 95) .. pack('>I8', given) .. sub(record, 104))
if byte(record) == RUNNING then
  touch(id)
  local worker = hex(sub(record, 12, 27))
  if worker ~= self then publish(worker, 's', id, pack('>I8', given) .. value) end
end
return {'n', given}
