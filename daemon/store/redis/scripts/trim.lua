#!lua flags=allow-oom
-- Forgets the head of a stream.
-- KEYS[1] P
-- ARGV  1 job id  2 the first sequence to keep
-- Returns the first sequence kept, nil when there is no such job, or what Redis says of a stream that
-- it cannot trim, as a text.
-- One script, because the record names what is kept.
local id = ARGV[1]
local record = stored(id)
if not record then return false end
local first, last = unpack_struct('>I8I8', record, 72)
local keep = math.min(tonumber(ARGV[2]), last + 1)
if keep <= first then return first end
local cut = redis.pcall('XTRIM', P .. 'chunks:' .. id, 'MINID', string.format('%.0f-0', keep))
if type(cut) == 'table' and cut.err then return cut.err end
if byte(record) == RUNNING then touch(id) end
store(id, sub(record, 1, 71) .. pack('>I8', keep) .. sub(record, 80))
return keep
