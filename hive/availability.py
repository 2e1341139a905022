"""Errors of MongoDB that pass by themselves, and those after which a write may have been done.

Codes are those of MongoDB's `error_codes.yml`, labels those of its driver specifications.
"""

from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

NO_WRITES = "NoWritesPerformed"
RETRYABLE = ("RetryableError", "RetryableWriteError", "SystemOverloadedError", "TransientTransactionError")

INTERRUPTED = frozenset(
    {
        6,  # HostUnreachable: of a shard, as mongos sees it
        7,  # HostNotFound
        50,  # MaxTimeMSExpired
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        189,  # PrimarySteppedDown
        202,  # NetworkInterfaceExceededTimeLimit
        262,  # ExceededTimeLimit
        279,  # ClientDisconnect
        9001,  # SocketException
        11600,  # InterruptedAtShutdown
        11601,  # Interrupted
        11602,  # InterruptedDueToReplStateChange
        91331,  # RetriableRemoteCommandFailure
    }
)
"""What ends a command that has begun, and may have written already."""
REFUSED = frozenset(
    {
        24,  # LockTimeout
        43,  # CursorNotFound
        46,  # LockBusy
        100,  # UnsatisfiableWriteConcern: there are fewer members than the connection string wants
        112,  # WriteConflict
        133,  # FailedToSatisfyReadPreference
        134,  # ReadConcernMajorityNotAvailableYet
        150,  # StaleEpoch
        175,  # QueryPlanKilled
        237,  # CursorKilled
        290,  # TransactionExceededLifetimeLimitSeconds
        365,  # TemporarilyUnavailable
        402,  # ResourceExhausted
        407,  # PooledConnectionAcquisitionExceededTimeLimit
        433,  # AdmissionQueueOverflow
        449,  # RateLimitExceeded
        450,  # PooledConnectionAcquisitionRejected
        453,  # InterruptedDueToReshardingCriticalSection
        462,  # IngressRequestRateLimitExceeded
        463,  # as 462, in earlier versions
        473,  # InterruptedDueToOverload
        10107,  # NotWritablePrimary
        13388,  # StaleConfig
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
    }
)
"""What a server does not do now, and has not begun."""

NOT_REACHED = "The database cannot be reached at the moment."
TIME_IS_UP = "The request was not answered in time."
NOT_NOW = "The database cannot do this at the moment."


def passes(error: BaseException | None) -> bool:
    """Whether the same may be done at another time: MongoDB is not there, has no time or is overloaded."""
    if not isinstance(error, PyMongoError):
        return False
    return bool(
        error.timeout
        or isinstance(error, ConnectionFailure)
        or getattr(error, "code", None) in INTERRUPTED | REFUSED
        or any(map(error.has_error_label, RETRYABLE))
    )


def is_uncertain(error: BaseException | None) -> bool:
    """Whether a write that ended with this error may have been done all the same, or may yet be undone."""
    if not isinstance(error, PyMongoError) or error.has_error_label(NO_WRITES):
        return False
    if isinstance(error, WriteConcernError | ExecutionTimeout):
        return True
    if isinstance(error, OperationFailure):
        return error.code in INTERRUPTED or (
            error.has_error_label("RetryableWriteError") and error.code not in REFUSED
        )
    return isinstance(error, ConnectionFailure) and not isinstance(error, ServerSelectionTimeoutError)


def sentence_of(error: BaseException | None) -> str:
    """What to tell clients of an error that passes."""
    if isinstance(error, ServerSelectionTimeoutError) or not isinstance(error, PyMongoError):
        return NOT_REACHED
    if error.timeout:
        return TIME_IS_UP
    return NOT_REACHED if isinstance(error, ConnectionFailure) else NOT_NOW
