#!lua
-- Adds blocks to the streams of running jobs.
-- KEYS[1] P
-- ARGV  1 INC of the caller  2 bytes of a block that is told whole, then for each block: job id,
--       token (worker, attempt as ">I4"), the block as stored
-- Returns {for each the last sequence stored, as a number; -1 for a stale token, -2 - LAST for a gap
--       after LAST; or what Redis says of a stream that it cannot add to, as a text}.
-- One script, because sequences rise by one and only the attempt that runs may append.
local self, push = ARGV[1], tonumber(ARGV[2])
local HEADER = 13

-- The entries of `block` above `last`.
local function cut(block, first, kind, entries, last)
  local skip = last + 1 - first
  local ends = HEADER + 4 * entries
  local from = unpack_struct('<I4', block, HEADER + 4 * (skip - 1) + 1)
  local out = {pack('>I8BI4', last + 1, kind, entries - skip)}
  for i = skip, entries - 1 do
    out[#out + 1] = pack('<I4', unpack_struct('<I4', block, HEADER + 4 * i + 1) - from)
  end
  out[#out + 1] = sub(block, ends + from + 1)
  return table.concat(out)
end

local ids = {}
for at = 3, #ARGV, 3 do ids[#ids + 1] = ARGV[at] end
local following = followers(ids, self)
local answers, records = {}, {}
for at = 3, #ARGV, 3 do
  local id, block = ARGV[at], ARGV[at + 2]
  local record = records[id] or call('HGET', P .. 'job', id)
  local answer = -1
  if record and byte(record) == RUNNING and sub(record, 12, 31) == ARGV[at + 1] then
    local first, kind, entries = unpack_struct('>I8BI4', block)
    local last = unpack_struct('>I8', record, 80)
    if first + entries - 1 <= last or entries == 0 then
      answer = last
    elseif first > last + 1 then
      answer = -2 - last
    else
      if first <= last then block = cut(block, first, kind, entries, last) end
      answer = first + entries - 1
      local added =
        redis.pcall('XADD', P .. 'chunks:' .. id, string.format('%.0f-0', answer), 'b', block)
      if type(added) == 'table' and added.err then
        answer = added.err  -- of this stream alone: the others go on
      else
        record = sub(record, 1, 79) .. pack('>I8', answer) .. sub(record, 88)
        records[id] = record
        if #block <= push then
          tell_all(following[id], 'e', id, block)
        else
          tell_all(following[id], 'n', id, pack('>I8', answer))
        end
      end
    end
  end
  answers[#answers + 1] = answer
end
-- A caller that runs the job keeps up with it; for others the record is touched.
local changed, runs_here = {}, {}
for id, record in pairs(records) do
  local worker = sub(record, 12, 27)
  if runs_here[worker] == nil then runs_here[worker] = hex(worker) == self end
  if not runs_here[worker] then touch(id) end
  changed[#changed + 1] = id
  changed[#changed + 1] = record
end
if #changed > 0 then call('HSET', P .. 'job', unpack(changed)) end
return answers
