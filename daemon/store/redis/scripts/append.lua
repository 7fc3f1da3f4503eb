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
local following, jobs = followers(ids, self), call('HMGET', P .. 'job', unpack(ids))
local answers, changed = {}, {}
for i, id in ipairs(ids) do
  local job, block = changed[id] or jobs[i], ARGV[3 * i + 2]
  local answer = -1
  if job and byte(job) == RUNNING and sub(job, 12, 31) == ARGV[3 * i + 1] then
    local first, kind, entries = unpack_struct('>I8BI4', block)
    local more = has(byte(job, 10), MORE)
    local last = more and unpack_struct('>I8', job, 56) or 0
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
        local last8 = pack('>I8', answer)
        if more then
          changed[id] = sub(job, 1, 55) .. last8 .. sub(job, 64)
        else
          changed[id] = sub(job, 1, 9) .. string.char(byte(job, 10) + MORE) .. sub(job, 11, 39) ..
            sub(NO_MORE, 1, 16) .. last8 .. sub(NO_MORE, 25) .. sub(job, 40)
        end
        if #block <= push then
          tell_all(following[id], 'e', id, block)
        else
          tell_all(following[id], 'n', id, last8)
        end
      end
    end
  end
  answers[i] = answer
end
-- A caller that runs the job keeps up with it; for others the record is touched.
local sets, runs_here = {}, {}
for id, job in pairs(changed) do
  local worker = sub(job, 12, 27)
  if runs_here[worker] == nil then runs_here[worker] = hex(worker) == self end
  if not runs_here[worker] then touch(id) end
  sets[#sets + 1] = id
  sets[#sets + 1] = job
end
if #sets > 0 then call('HSET', P .. 'job', unpack(sets)) end
return answers
