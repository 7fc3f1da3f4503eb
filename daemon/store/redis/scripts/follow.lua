#!lua flags=allow-oom
-- Says what readers a process has on some streams; whoever runs their jobs hears of it.
-- KEYS[1] P
-- ARGV  1 INC of the caller  2 most processes of one stream  3 '1': it has to have a lease, then for
--       each: job id, 48 bytes as in P watch (without readers: it is followed no longer)
-- Returns the ids of streams that have no room for this process, or 0 when it has no lease: nobody
--       would take its readers out again.
-- One script, because every process that follows a stream stands in one value.
local self, most = ARGV[1], 48 * tonumber(ARGV[2])
local ids = {}
for at = 4, #ARGV, 2 do ids[#ids + 1] = ARGV[at] end
if #ids == 0 then return {} end
if ARGV[3] == '1' and call('HEXISTS', P .. 'workers', self) == 0 then return 0 end
local watched, records = watches(ids), call('HMGET', P .. 'job', unpack(ids))
local set, gone, followed, left, refused = {}, {}, {}, {}, {}
for i, id in ipairs(ids) do
  local mine = ARGV[2 * i + 3]
  local all, raw, any = watched[id] or '', sub(mine, 1, 16), sub(mine, 17, 24) ~= ZERO
  local at = 1
  while at < #all and sub(all, at, at + 15) ~= raw do at = at + 48 end
  if any and at > most then
    refused[#refused + 1] = id
  else
    all = sub(all, 1, at - 1) .. (any and mine or '') .. sub(all, at + 48)
    watched[id] = all
    if all ~= '' then
      set[#set + 1] = id
      set[#set + 1] = all
    else
      gone[#gone + 1] = id
    end
    if any then followed[#followed + 1] = id else left[#left + 1] = id end
    local record = records[i]
    if record and byte(record) == RUNNING then
      local worker = hex(sub(record, 12, 27))
      if worker ~= self then
        publish(worker, 'R', id, sub(mine, 1, 40) .. pack('>I8', unpack_struct('>I4', record, 28)))
      end
    end
  end
end
if #set > 0 then call('HSET', P .. 'watch', unpack(set)) end
if #gone > 0 then call('HDEL', P .. 'watch', unpack(gone)) end
if #followed > 0 then call('SADD', P .. 'follows:' .. self, unpack(followed)) end
if #left > 0 then call('SREM', P .. 'follows:' .. self, unpack(left)) end
return refused
