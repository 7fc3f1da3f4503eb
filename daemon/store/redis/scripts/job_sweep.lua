#!lua flags=allow-oom
-- Forgets finished jobs and idempotency keys whose time is over, and entries of lists that stand for
-- no job.
-- KEYS[1] P
-- ARGV  1 most jobs and keys to forget  2 most entries to look at  3 INC of the caller  4 clock
-- Returns {counts, how many it forgot, 1 when there may be more}.
-- One script, because everything of a job goes together.
local now = now_us(ARGV[4])
local now_ms, second = math.floor(now / 1000), math.floor(now / 1000000)
local most, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local forgotten = 0

-- Goes through what ends by now, by the second: `over` says of an entry when it ends, as milliseconds
-- (nil: it is none of that second).
local function go_through(order, prefix, over, forget_all)
  while forgotten < most and room > 0 do
    local name = call('ZRANGEBYSCORE', P .. order, '-inf', second, 'LIMIT', 0, 1)[1]
    if not name then return end
    local entries = call('LPOP', P .. prefix .. name, math.min(most - forgotten, room))
    if not entries then
      call('ZREM', P .. order, name)
    else
      room = room - #entries
      local ends, early = {}, {}
      for _, entry in ipairs(entries) do
        local ends_ms = over(entry, name)
        if ends_ms and ends_ms <= now_ms then ends[#ends + 1] = entry end
        if ends_ms and ends_ms > now_ms then early[#early + 1] = entry end
      end
      if #early > 0 then call('RPUSH', P .. prefix .. name, unpack(early)) end
      if #ends > 0 then forgotten = forgotten + forget_all(ends, name) end
      if #early > 0 then return end  -- this very second
    end
  end
end

local function job_ends(id, name)
  local job = call('HGET', P .. 'job', id)
  if not job or byte(job) < SUCCEEDED then return nil end
  local spec = call('HGET', P .. 'spec', id)
  local ends_ms = math.floor(unpack_struct('>I8', job, 2) / 1000) + unpack_struct('>I8', spec, 17)
  local queue = unpack_struct('>Bc0', spec, 27 + byte(spec, 26))
  return text(math.floor(ends_ms / 1000)) .. ':' .. queue == name and ends_ms or nil
end
local function forget_jobs(ids, name)
  local queue = string.match(name, ':(.*)$')
  local seen, its = {}, {}
  for _, id in ipairs(ids) do
    if not seen[id] then
      seen[id] = true
      its[#its + 1] = id
    end
  end
  local following = followers(its, ARGV[3])
  -- Most are the first that finished; what stands behind others is dropped below.
  while seen[sub(call('LINDEX', P .. 'done:' .. queue, 0) or '', 9)] do
    call('LPOP', P .. 'done:' .. queue)
  end
  local specs, jobs = call('HMGET', P .. 'spec', unpack(its)), call('HMGET', P .. 'job', unpack(its))
  leave_finished(queue, specs, jobs)
  forget(queue, its, specs, jobs)
  for id, incs in pairs(following) do tell_all(incs, 'x', id, '') end
  count('removed', #its)
  return #its
end
local function key_ends(entry)
  return (of_key(entry))
end
-- That of a job which has lasted longer counts until it ends.
local function forget_keys(entries)
  local over = {}
  for _, entry in ipairs(entries) do
    local _, id, name = of_key(entry)
    local value = call('HGET', P .. 'key', name)
    if value and sub(value, 25) == id and not has_job(name, value) then over[#over + 1] = name end
  end
  return #over > 0 and call('HDEL', P .. 'key', unpack(over)) or 0
end
go_through('expire', 'expire:', job_ends, forget_jobs)
go_through('keys', 'keys:', key_ends, forget_keys)
local more = (forgotten >= most or room <= 0) and 1 or 0

-- Entries of dead ones are dropped when they are most of a list. Of what is too much to be looked at
-- at once another part is every second.
local FIELDS, FEW = 50, 100
room = tonumber(ARGV[2])

local function has_finished(entry)
  local job = call('HGET', P .. 'job', sub(entry, 9))
  return job and is_done(job, entry)
end

local function tidy(list, live, means)
  local length = call('LLEN', list)
  if length < 2 * live + FEW or room == 0 then return end
  local most = math.min(room, length)
  local from = second % math.ceil(length / most) * most
  room = room - most
  drop_dead(list, length, from, from + most - 1, means)
end

local fields = call('HRANDFIELD', P .. 'count', FIELDS, 'WITHVALUES')
for i = 1, #fields, 2 do
  local kind, queue = fields[i]:match('^(.):(.*)$')
  if kind == 'f' then tidy(P .. 'done:' .. queue, tonumber(fields[i + 1]), has_finished) end
  for _, x in ipairs(kind == 'q' and {'', 'x'} or {}) do
    local types = call('HRANDFIELD', P .. x .. 'lanes:' .. queue, FIELDS, 'WITHVALUES')
    for k = 1, #types, 2 do
      tidy(P .. x .. 'lane:' .. queue .. ':' .. types[k], tonumber(types[k + 1]), is_queued)
    end
  end
end
return {all_counts(), forgotten, more}
