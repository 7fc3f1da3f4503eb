// Every bound of Weft and its reason, in one place. Units are in the names.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::limits {

// Runtime.
inline constexpr size_t kReadyPerTurn = 1024;      // a turn with a million ready tasks still polls
inline constexpr size_t kResumesPerPoll = 256;     // I/O waits at most this many resumes…
inline constexpr size_t kTurnsPerPoll = 64;        // …or this many turns, whichever is first
inline constexpr size_t kHopsPerResume = 10'000;   // awaits a task may make without ever waiting
inline constexpr size_t kTimersPerTurn = 4096;     // a million timers due at once still poll
inline constexpr size_t kExecutorQueue = 256;      // work handed to the pool; more waits, fairly
inline constexpr size_t kDeadlockSearch = 10'000;  // waits followed when a cycle is looked for
inline constexpr size_t kFrameCachePerClass = 8192;  // freed frames kept for reuse, per size class

// Jobs.
inline constexpr size_t kPayloadBytes = 4 << 20;   // larger inputs belong in a file or object store
inline constexpr size_t kResultBytes = 4 << 20;    // the same, on the way out
inline constexpr size_t kMetadataBytes = 8 << 10;  // labels, not data
inline constexpr size_t kContentTypeBytes = 128;   // a MIME type
inline constexpr size_t kReasonBytes = 1 << 10;    // a sentence
inline constexpr size_t kErrorMessageBytes = 4 << 10;  // a sentence and a little context
inline constexpr size_t kProgressBytes = 1 << 10;      // a status line
inline constexpr size_t kQueuedPerQueue = 1'000'000;   // submissions beyond it are refused
inline constexpr size_t kConcurrency = 1000;           // jobs that run at once in one worker
inline constexpr size_t kTakeBatch = 256;              // jobs taken in one transaction
inline constexpr size_t kResidentJobs = 100'000;  // jobs one worker holds, parked ones included
inline constexpr int64_t kProgressSaveMs = 100;   // progress is stored at most this often

inline constexpr size_t kIdempotencyKeyBytes = 128;            // a name, not data
inline constexpr int64_t kIdempotencyMs = 24LL * 3600 * 1000;  // a key is kept at least this long
inline constexpr int64_t kRetentionMs = 24LL * 3600 * 1000;    // finished jobs are kept this long…
inline constexpr size_t kFinishedPerQueue = 100'000;           // …and at most so many of one queue
inline constexpr size_t kTrimPerSettle = 2;  // of those too many, forgotten by one settle
inline constexpr size_t kSweepBatch = 500;   // forgotten jobs of one sweep's transaction
inline constexpr int64_t kSweepMs = 1000;    // and the time between two sweeps
inline constexpr int64_t kDurationSecondsMax = 30LL * 24 * 3600;  // of retention and timeouts
inline constexpr uint32_t kSuspectCrashes = 3;  // from here on a job runs beside no other suspect
inline constexpr uint32_t kDeadCrashes = 5;     // deaths of a worker that end a job
inline constexpr uint32_t kAttempts = 3;        // failures that end a job, unless it says…
inline constexpr uint32_t kAttemptsMax = 100;   // …up to this
inline constexpr uint32_t kSnoozes = 100;       // times a job may put itself off
inline constexpr size_t kBackoffPauses = 100;   // of a listed backoff
inline constexpr int64_t kBackoffMs = 2000;     // the first pause, unless a policy says…
inline constexpr int64_t kBackoffMsMax = 3600'000;  // …and the longest
inline constexpr size_t kAttemptErrors = 100;       // errors of earlier attempts kept of a job
inline constexpr size_t kAttemptErrorBytes = 512;   // a message of those
inline constexpr int64_t kRunAtSecondsMax = 366LL * 24 * 3600;  // a job may be due so far ahead
inline constexpr size_t kPromoteBatch = 500;                    // jobs of one promotion
inline constexpr int64_t kPromotePollMs = 1000;  // for those a daemon that died would have promoted
inline constexpr size_t kSchedules = 10'000;     // of one store
inline constexpr size_t kScheduleNameBytes = 128;
inline constexpr size_t kCronBytes = 256;          // an expression
inline constexpr int64_t kIntervalMsMin = 1000;    // a schedule comes no more often
inline constexpr uint32_t kCatchUp = 100;          // missed ticks that are made up for, at most
inline constexpr size_t kScheduleBatch = 100;      // schedules looked at in one call
inline constexpr int64_t kSchedulePollMs = 1000;   // for those another daemon has made
inline constexpr size_t kBatchJobs = 1000;         // jobs of one SubmitBatch
inline constexpr size_t kBatchBytes = 4 << 20;     // and their bytes
inline constexpr size_t kSubmitStreamJobs = 4096;  // unanswered jobs of one SubmitStream
inline constexpr size_t kSubmitStreamBytes = 16 << 20;  // and their bytes
inline constexpr int kPageSize = 100;                 // jobs of one page of List, unless asked for…
inline constexpr int kPageSizeMax = 1000;             // …up to this
inline constexpr size_t kListBytes = 3 << 20;         // of one page: most clients take 4 MiB
inline constexpr size_t kListErrorScan = 5000;        // records it looks at for an error's text
inline constexpr size_t kErrorFilterBytes = 256;      // of such a text
inline constexpr size_t kChangesAtOnce = 32;          // jobs that one ChangeJobs is changing
inline constexpr size_t kChangeCalls = 8;             // of those calls at once
inline constexpr size_t kListScan = 20'000;           // records one page of List looks at
inline constexpr size_t kResidentBytes = 1 << 30;     // payloads of the jobs one worker holds
inline constexpr size_t kPlainHandlers = 64;          // pieces of plain handlers waiting, each type
inline constexpr size_t kExecutorStreamValues = 256;  // values a pool thread is ahead…
inline constexpr size_t kExecutorStreamBytes = 256 << 10;  // …of the loop, and their bytes

// Streams.
inline constexpr size_t kChunkBytes = 1 << 20;        // one chunk; more is several chunks
inline constexpr uint64_t kWindowChunks = 4096;       // a job may be this far ahead of its readers
inline constexpr size_t kWindowBytes = 1 << 20;       // the same in bytes
inline constexpr uint64_t kStreamChunks = 1'000'000;  // chunks kept of one job
inline constexpr size_t kStreamBytes = 64 << 20;      // bytes kept of one job
inline constexpr int64_t kSlowReaderMs = 60'000;      // a reader may hold a full stream this long
inline constexpr size_t kSendBytes = 64 << 10;        // one send
inline constexpr uint64_t kUnconsumedSends = 64;      // sends a job has not looked at
inline constexpr uint64_t kKeptSends = 1024;          // sends kept for a restart of the job
inline constexpr size_t kReadersPerJob = 1000;        // watches and attaches of one job
inline constexpr size_t kReaders = 10'000;            // watches and attaches of one process
inline constexpr size_t kLiveTailBytes = 64 << 20;    // committed chunks kept in memory, all jobs
inline constexpr size_t kChunksPerTurn = 256;         // a stream computes in one turn of the loop
inline constexpr size_t kEventChunks = 4096;          // chunks in one event, however small
inline constexpr int64_t kStreamGraceMs = 600'000;    // a pausing job without a consumer lives on

// Store.
inline constexpr size_t kStoreBatchOps = 4096;         // operations in one transaction
inline constexpr size_t kStoreBatchBytes = 16 << 20;   // bytes in one transaction
inline constexpr size_t kStoreQueueOps = 65'536;       // operations waiting for a transaction
inline constexpr size_t kStoreQueueBytes = 256 << 20;  // bytes of those; more waits in the callers
inline constexpr size_t kTakeBytes = 16 << 20;       // payloads of one take; the next take goes on
inline constexpr int64_t kStoreErrorLogMs = 10'000;  // a store that fails says so this often
inline constexpr size_t kHotJobBytes = 64
                                       << 20;  // queued jobs kept parsed, so a take reads no file
inline constexpr int kCheckpointPages = 4000;  // write-ahead log length that an idle store mends
inline constexpr int kCheckpointLatePages = 32'000;   // …and that a busy one stops for (128 MiB)
inline constexpr size_t kReadBatchBytes = 256 << 10;  // bytes of one page of a chunk log

inline constexpr size_t kFreeDiskBytes = 64 << 20;  // below it submissions are refused
inline constexpr int64_t kFreeDiskCheckMs = 250;    // the disk is asked this often

// Leases and Redis.
inline constexpr int64_t kLeaseMs = 15'000;         // a worker unheard of for so long is dead
inline constexpr int64_t kRenewMs = 5000;           // three tries before that
inline constexpr int64_t kKeeperRenewMs = 30'000;   // a held loop's lease is renewed this long
inline constexpr int64_t kKeeperCallMs = 500;       // the server has to answer one such renewal
inline constexpr int64_t kForeignTypeMs = 600'000;  // a job no live worker can run goes dead
inline constexpr size_t kWorkers = 10'000;          // processes that share a store
inline constexpr size_t kExpireBatch = 500;         // jobs of a dead worker requeued by one call
inline constexpr int64_t kRedisCommandMs = 5000;    // an answer that takes longer never comes
inline constexpr int64_t kRedisConnectMs = 3000;    // to be connected and let in
inline constexpr int64_t kRedisPingMs = 5000;       // an idle connection is asked if it lives
inline constexpr int64_t kRedisRetryMs = 50;        // first pause before it connects again…
inline constexpr int64_t kRedisRetryMsMax = 2000;   // …and the longest, both with jitter
inline constexpr int64_t kRedisPollMs = 5000;     // an idle worker asks for work it was not told of
inline constexpr size_t kRedisInFlight = 65'536;  // commands sent and not answered
inline constexpr size_t kRedisInFlightBytes = 64
                                              << 20;  // and their bytes; more waits in the callers
inline constexpr size_t kRedisScriptItems = 1000;     // jobs, settles, appends of one script call
inline constexpr size_t kRedisScriptBytes = 8
                                            << 20;  // and their bytes: Redis stands still meanwhile
inline constexpr size_t kRedisScan = 4000;          // entries one script call looks at
inline constexpr size_t kRedisPushBytes = 64 << 10;  // a larger block is read, not pushed
inline constexpr size_t kRedisInlinePayload = 4
                                              << 10;  // a larger payload is kept beside its record
inline constexpr size_t kRemoteReaders = 1000;        // processes that read one stream

// Handlers.
inline constexpr size_t kHttpUrlBytes = 8 << 10;         // a URL of an http job
inline constexpr size_t kHttpHeaderBytes = 64 << 10;     // headers, either way
inline constexpr size_t kHttpBodyBytes = 1LL << 30;      // a response; longer ones fail
inline constexpr size_t kHttpConnections = 2000;         // transfers of one daemon
inline constexpr size_t kHttpConnectionsPerHost = 1000;  // and to one host
inline constexpr size_t kHttpBufferBytes = 256 << 10;    // received and not yet yielded, each
inline constexpr int kHttpRedirects = 10;                // each checked like the first URL
inline constexpr int64_t kHttpConnectMs = 10'000;        // to be connected
inline constexpr int64_t kHttpTotalMs = 600'000;         // a whole transfer, unless it says less
inline constexpr size_t kHttpLookups = 16;               // host names looked up at once…
inline constexpr size_t kHttpLookupsWaiting = 1000;      // …and waiting for that
inline constexpr size_t kHttpAnswersKept = 1000;         // of lookups, for the next job
inline constexpr int64_t kHttpAnswerMs = 60'000;         // so long
inline constexpr int64_t kHttpNoAnswerMs = 5000;         // a dead name takes no thread for each job
inline constexpr size_t kExecProcesses = 16;             // commands that run at once
inline constexpr size_t kExecArguments = 1024;           // of one command
inline constexpr size_t kExecArgumentBytes = 128 << 10;  // all of them, environment included
inline constexpr size_t kExecLineBytes = 1 << 20;        // a longer line is cut into chunks
inline constexpr size_t kExecStderrBytes = 64 << 10;     // of one job's stderr, kept in the log
inline constexpr int64_t kExecKillMs = 5000;             // from SIGTERM to SIGKILL
inline constexpr int64_t kSpinMsMax = 3'600'000;         // of one spin job

// Admin pages.
inline constexpr size_t kAdminConnections = 64;            // at once
inline constexpr size_t kAdminConnectionsPerAddress = 32;  // of one client
inline constexpr size_t kAdminRequestBytes = 32 << 10;     // request line and headers
inline constexpr int64_t kAdminHeaderMs = 5000;            // to send a whole request
inline constexpr int64_t kAdminIdleMs = 30'000;            // a kept connection
inline constexpr size_t kMetricTypes = 200;                // job types and queues with own series

// Watching the loop.
inline constexpr int64_t kStallMs = 100;       // a task that holds the loop longer is named
inline constexpr int64_t kStuckMs = 10'000;    // a job that was cancelled this long ago is stuck
inline constexpr int64_t kStuckLookMs = 1000;  // how often it is looked for those…
inline constexpr size_t kStuckLook = 4096;     // …among so many jobs, in turn
inline constexpr int64_t kStallLogMs = 1000;   // at most so often
inline constexpr size_t kDumpBytes = 4 << 20;  // a dump of all tasks is cut here
inline constexpr size_t kDumpTasks = 20'000;   // …or here: the loop stands still meanwhile
inline constexpr size_t kDumpDepth = 64;       // tasks within tasks that a dump shows
inline constexpr int64_t kHungMs = 30'000;     // no beat this long: the watchdog is not fed

// gRPC.
inline constexpr int kMessageBytes = 9 << 20;       // both ways: a payload, a result, some slack
inline constexpr size_t kConnections = 1000;        // sockets accepted at once
inline constexpr size_t kCalls = 20'000;            // calls in flight, watches included
inline constexpr size_t kRequestBytes = 256 << 20;  // requests of all calls, until answered
inline constexpr size_t kCallQueueMessages = 64;    // answers queued in one call
inline constexpr size_t kCallQueueBytes = 1 << 20;  // bytes queued in one call…
inline constexpr size_t kCrowdedQueueBytes = 64 << 10;  // …and while the server holds much
inline constexpr int kHandshakeMs = 3000;               // a silent connection is closed
inline constexpr size_t kAcceptorsPerMethod = 64;   // calls of a burst taken without a round trip
inline constexpr int kKeepaliveMs = 20'000;         // an idle connection is asked if it lives…
inline constexpr int kKeepaliveTimeoutMs = 10'000;  // …and closed without an answer in this time
inline constexpr int kMinPingMs = 5000;             // a client that pings more often is closed
inline constexpr size_t kSenderBytes = 128;         // a consumer's name for its sends
inline constexpr int64_t kSendRetryMs = 20;         // a send its job has no room for waits this…
inline constexpr int64_t kSendRetryMsMax = 200;     // …and later this long for the next try
inline constexpr int64_t kQuietMs = 10;             // at shutdown: readers are looked at this often
inline constexpr int64_t kQuietMsMax = 2000;        // …and sent away after this long
inline constexpr size_t kHeldSendBytes = 64 << 20;  // sends that wait for their jobs, all attaches
inline constexpr size_t kStatusMessageBytes = 1024;  // an error travels as metadata: 8 KiB in all
inline constexpr size_t kTypesListed = 20;    // job types named in an error about an unknown one
inline constexpr int kReflectionThreads = 8;  // gRPC's reflection holds a thread a stream

// Daemon.
inline constexpr size_t kLogQueue = 8192;       // log lines that wait for a slow stderr
inline constexpr int64_t kLogFlushMs = 1000;    // a full stderr holds up the end this long
inline constexpr int64_t kServerStopMs = 5000;  // answers owed at shutdown may take this long
inline constexpr int64_t kUnwindMs = 10'000;    // jobs cancelled at shutdown end in this time

}  // namespace weft::limits
