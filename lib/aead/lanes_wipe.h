/* lanes_wipe.h - general registers that a call may leave anything in, for the assembler that wipes.
 * Private to lib/aead.
 *
 * Spec:    System V ABI for x86-64, 3.2.1: these are the caller's to save. Those that are the
 *          callee's have their old content again when it returns.
 * Threads: macros without state.
 */
#ifndef PORTIER_AEAD_LANES_WIPE_H
#define PORTIER_AEAD_LANES_WIPE_H

#define WIPE_GENERAL              \
	"xorl %%eax, %%eax\n\t"   \
	"xorl %%ecx, %%ecx\n\t"   \
	"xorl %%edx, %%edx\n\t"   \
	"xorl %%esi, %%esi\n\t"   \
	"xorl %%edi, %%edi\n\t"   \
	"xorl %%r8d, %%r8d\n\t"   \
	"xorl %%r9d, %%r9d\n\t"   \
	"xorl %%r10d, %%r10d\n\t" \
	"xorl %%r11d, %%r11d"
#define GENERAL_REGISTERS "cc", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"

#endif
