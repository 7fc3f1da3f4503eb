#!lua flags=no-writes
-- A piece of a stream.
-- KEYS[1] P
-- ARGV  1 job id  2 from which sequence (0: the oldest kept)  3 bytes of blocks to return, about, at
--       least one block  4 most blocks
-- Returns {first sequence kept, last sequence stored, block, ...} (only these two when nothing is
--       there, or `from` is below the first), or nil when there is no such job.
-- One script, so that blocks and numbers belong together.
local id, from, room, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local job = call('HGET', P .. 'job', id)
if not job and call('HEXISTS', P .. 'spec', id) == 0 then return false end
local first, last = 1, 0
if job and has(byte(job, 10), MORE) then first, last = unpack_struct('>I8I8', job, 48) end
local answer = {first, last}
if from == 0 then from = first end
if from < first then return answer end
local piece = 1
while from <= last and most > 0 do
  local entries = call('XRANGE', P .. 'chunks:' .. id, string.format('%.0f-0', from), '+', 'COUNT',
    math.min(piece, most))
  if #entries == 0 then return answer end
  for _, entry in ipairs(entries) do
    local block = entry[2][2]
    answer[#answer + 1] = block
    room = room - #block
    if room <= 0 then return answer end
  end
  from = tonumber(string.match(entries[#entries][1], '^%d+')) + 1
  most = most - #entries
  piece = math.min(2 * piece, 64)
end
return answer
