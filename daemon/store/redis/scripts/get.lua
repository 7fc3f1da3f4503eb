#!lua flags=no-writes
-- One job as it is now.
-- KEYS[1] P
-- ARGV  1 job id  2 '1': with its payload
-- Returns {record, spec, outcome, progress, payload, errors}, each nil when there is none, or nil when
--       there is no such job. A payload that is not large is part of the spec.
-- One script, so that the parts belong together.
local id = ARGV[1]
local record = stored(id)
if not record then return false end
local flags = byte(record, 10)
local function part(bit, name) return has(flags, bit) and call('HGET', P .. name, id) end
return {record, spec_of(id), part(OUTCOME, 'outcome'), part(PROGRESS, 'progress'),
  ARGV[2] == '1' and part(LARGE, 'payload'),
  has(flags, ERRORS) and call('LRANGE', P .. 'errors:' .. id, 0, -1)}
