#!lua flags=no-writes
-- Every process that has a lease.
-- KEYS[1] P
-- Returns {INC, entry, INC, entry, ...}: as kept in P workers.
return redis.call('HGETALL', P .. 'workers')
