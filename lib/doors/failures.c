#include "doors/failures.h"

const char *door_failure_name(enum door_failure failure)
{
	static const char *const names[] = {
#define X(name, help) #name,
		DOOR_FAILURES(X)
#undef X
	};

	return names[failure];
}

const char *door_failure_help(enum door_failure failure)
{
	static const char *const helps[] = {
#define X(name, help) help,
		DOOR_FAILURES(X)
#undef X
	};

	return helps[failure];
}
