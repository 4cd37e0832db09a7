/* As much of Linux as a unit test needs, on a machine with nothing else: one statically linked
 * program, no files, output on port 0xe9 of the emulator.
 *
 * All run in ring 0, without interrupts. A fault is reported and ends the run.
 */
#include "layout.h"

#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define PAGE	     4096u
#define ARCH_SET_FS  0x1002
#define MSR_FS_BASE  0xc0000100
#define PORT_CONSOLE 0xe9
#define PORT_POWER   0x8900

/* In a place of its own, as a ROM has no variables. */
struct variables {
	uint64_t mxcsr, caller_stack; /* of start.S */
	uint64_t heap_start, heap_end, maps_end;
};

static struct variables *const vars = (struct variables *)VARIABLES;

/* What start.S calls. */
void main(void);
long answer_call(long a, long b, long c, long number);
void report_fault(const uint64_t *stack, uint64_t address);
/* And what it has. */
_Noreturn void enter_program(uint64_t entry, const uint64_t *stack);

static void put_byte(uint16_t port, char byte)
{
	__asm__ volatile("outb %0, %1" : : "a"(byte), "Nd"(port));
}

static void print(const char *text)
{
	while (*text)
		put_byte(PORT_CONSOLE, *text++);
}

static void print_hex(uint64_t value, unsigned n_digits)
{
	while (n_digits-- > 0)
		put_byte(PORT_CONSOLE, "0123456789abcdef"[value >> 4 * n_digits & 15]);
}

/* run.sh reads the line. */
static _Noreturn void power_off(uint8_t status)
{
	print("\nexit status ");
	print_hex(status, 2);
	print("\n");
	for (const char *word = "Shutdown"; *word; word++)
		put_byte(PORT_POWER, *word);
	for (;;)
		__asm__ volatile("hlt");
}

/* stack: the vector, the error code of those that have one, then rip. */
void report_fault(const uint64_t *stack, uint64_t address)
{
	print("\nfault ");
	print_hex(stack[0], 2);
	print(", cr2 ");
	print_hex(address, 16);
	print(", stack");
	for (unsigned i = 1; i < 4; i++) {
		print(" ");
		print_hex(stack[i], 16);
	}
	power_off(255);
}

static void copy(void *to, const void *from, size_t n)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static void clear(void *to, size_t n)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(0) : "memory");
}

static uint64_t round_up(uint64_t at)
{
	return (at + PAGE - 1) / PAGE * PAGE;
}

/* --- calls --------------------------------------------------------------------------------------
 */

static long write_bytes(const char *text, long n)
{
	for (long i = 0; i < n; i++)
		put_byte(PORT_CONSOLE, text[i]);
	return n;
}

static long move_heap_end(uint64_t end)
{
	if (end >= vars->heap_start && end <= HEAP_END)
		vars->heap_end = end;
	return (long)vars->heap_end;
}

/* All memory is zero from the start, and nothing is ever given back. */
static long map(uint64_t n)
{
	uint64_t at = vars->maps_end;

	n = round_up(n);
	if (n > MAPS_END - at)
		return -ENOMEM;
	vars->maps_end += n;
	return (long)at;
}

/* A page is there for everything, or not at all. */
static long protect(uint64_t at, uint64_t n, long prot)
{
	uint64_t *pages = (uint64_t *)PAGES;

	for (uint64_t end = at + n; at < end; at += PAGE) {
		pages[at / PAGE] = at | (prot == PROT_NONE ? 0 : 3);
		__asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
	}
	return 0;
}

static long set_fs(uint64_t base)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(MSR_FS_BASE), "a"((uint32_t)base), "d"((uint32_t)(base >> 32)));
	return 0;
}

long answer_call(long a, long b, long c, long number)
{
	switch (number) {
	case SYS_write:
		return write_bytes((const char *)b, c);
	case SYS_brk:
		return move_heap_end((uint64_t)a);
	case SYS_mmap:
		return map((uint64_t)b);
	case SYS_mprotect:
		return protect((uint64_t)a, (uint64_t)b, c);
	case SYS_munmap:
		return 0;
	case SYS_arch_prctl:
		return a == ARCH_SET_FS ? set_fs((uint64_t)b) : -EINVAL;
	case SYS_getrandom: /* of libsodium, which no test asks for any */
		clear((void *)a, (size_t)b);
		return b;
	case SYS_tgkill: /* abort() */
		power_off((uint8_t)(128 + c));
	case SYS_exit_group:
		power_off((uint8_t)a);
	default:
		return -ENOSYS;
	}
}

/* --- the program --------------------------------------------------------------------------------
 */

/* Returns its first instruction. */
static uint64_t load_program(const Elf64_Ehdr *e)
{
	const Elf64_Phdr *p = (const Elf64_Phdr *)(FILE + e->e_phoff);

	for (unsigned i = 0; i < e->e_phnum; i++, p++) {
		if (p->p_type != PT_LOAD)
			continue;
		copy((void *)p->p_vaddr, (const void *)(FILE + p->p_offset), p->p_filesz);
		clear((void *)(p->p_vaddr + p->p_filesz), p->p_memsz - p->p_filesz);
		vars->heap_start = vars->heap_end = round_up(p->p_vaddr + p->p_memsz);
	}
	vars->maps_end = MAPS;
	return e->e_entry;
}

/* System V ABI for x86-64, 3.4.1: arguments, environment, auxiliary vector. */
static void fill_stack(uint64_t *top, const Elf64_Ehdr *e)
{
	const uint64_t auxiliary[] = {AT_PHDR, FILE + e->e_phoff, AT_PHENT, e->e_phentsize,
		AT_PHNUM, e->e_phnum, AT_PAGESZ, PAGE, AT_RANDOM, FILE, AT_NULL, 0};
	const char *env = (const char *)ENVIRONMENT;

	*top++ = 1;
	*top++ = (uint64_t) "test";
	*top++ = 0;
	while (*env) {
		*top++ = (uint64_t)env;
		while (*env++)
			;
	}
	*top++ = 0;
	for (unsigned i = 0; i < sizeof(auxiliary) / sizeof(auxiliary[0]); i++)
		*top++ = auxiliary[i];
}

void main(void)
{
	const Elf64_Ehdr *e = (const Elf64_Ehdr *)FILE;
	uint64_t *stack = (uint64_t *)(PROGRAM_STACK - PAGE);
	uint64_t entry = load_program(e);

	fill_stack(stack, e);
	enter_program(entry, stack);
}
