/* From reset to long mode, with everything on that AVX-512 needs. There is no BIOS: this lies in
 * its place.
 *
 * Spec: Intel SDM, volume 3A, 9.1.4 (the first instruction), 9.8.5 (to long mode); volume 1, 13.3
 *       (XCR0); volume 2B, SYSCALL.
 */
#include "layout.h"

#define CODE32 0x08
#define DATA   0x10
#define CODE64 0x18

	.section .note.GNU-stack, "", @progbits

	.section .reset, "ax"
	.code16
	ljmp	$(ROM >> 4), $start16 - ROM

	.text
start16:
	cli
	mov	$(ROM >> 4), %ax
	mov	%ax, %ds
	lgdtl	gdt_place - ROM
	mov	%cr0, %eax
	or	$1, %eax
	mov	%eax, %cr0
	ljmpl	$CODE32, $start32

	.code32
start32:
	mov	$DATA, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss

	xor	%eax, %eax
	mov	$VARIABLES, %edi
	mov	$((VARIABLES_END - VARIABLES) / 4), %ecx
	rep stosl
	mov	$TABLES, %edi
	mov	$((MEMORY - TABLES) / 4), %ecx
	rep stosl
	mov	$IMAGE, %esi
	mov	$FILE, %edi
	mov	$(IMAGE_BYTES / 4), %ecx
	rep movsl

	/* Pages of 4 KiB, so that a test can take them away; page 0 is, for NULL. */
	movl	$(TABLES + 0x1000 + 3), TABLES
	movl	$(TABLES + 0x2000 + 3), TABLES + 0x1000
	mov	$(MEMORY >> 21), %ecx
	mov	$(TABLES + 0x2000), %edi
	mov	$(PAGES + 3), %eax
1:	mov	%eax, (%edi)
	add	$0x1000, %eax
	add	$8, %edi
	loop	1b
	mov	$((MEMORY >> 12) - 1), %ecx
	mov	$(PAGES + 8), %edi
	mov	$(0x1000 + 3), %eax
2:	mov	%eax, (%edi)
	add	$0x1000, %eax
	add	$8, %edi
	loop	2b
	mov	$TABLES, %eax
	mov	%eax, %cr3

	mov	$0x40620, %eax		/* PAE, OSFXSR, OSXMMEXCPT, OSXSAVE */
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx	/* EFER: SCE, LME */
	mov	$0x101, %eax
	xor	%edx, %edx
	wrmsr
	mov	$0x80010033, %eax	/* PG, WP, NE, ET, MP, PE */
	mov	%eax, %cr0
	ljmp	$CODE64, $start64

	.code64
start64:
	xor	%ecx, %ecx		/* XCR0: x87, SSE, AVX and the three of AVX-512 */
	mov	$0xe7, %eax
	xor	%edx, %edx
	xsetbv
	fninit
	movl	$0x1f80, VARIABLES
	ldmxcsr	VARIABLES
	mov	$0xc0000081, %ecx	/* STAR: segments of the callee */
	xor	%eax, %eax
	mov	$CODE64, %edx
	wrmsr
	mov	$0xc0000082, %ecx	/* LSTAR */
	mov	$call_arrives, %eax
	xor	%edx, %edx
	wrmsr
	mov	$0xc0000084, %ecx	/* FMASK: TF, IF, DF */
	mov	$0x700, %eax
	wrmsr

	mov	$faults, %eax
	mov	$IDT, %edi
	mov	$32, %ecx
3:	mov	%ax, (%rdi)
	movw	$CODE64, 2(%rdi)
	movw	$0x8e00, 4(%rdi)
	movl	$(ROM >> 16), 6(%rdi)
	add	$16, %rdi
	add	$16, %eax
	loop	3b
	lidt	idt_place
	mov	$STACK, %esp
	call	main

/* A call of Linux: rax, and rdi, rsi, rdx. The caller is in ring 0 too, which sysret cannot go back
 * to; below its stack pointer is its red zone. */
call_arrives:
	mov	%rsp, CALLER_STACK
	mov	$STACK, %esp
	push	%rcx
	push	%r11
	push	%rdi
	push	%rsi
	push	%rdx
	push	%r8
	push	%r9
	push	%r10
	mov	%rax, %rcx
	call	answer_call
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdx
	pop	%rsi
	pop	%rdi
	pop	%r11
	pop	%rcx
	mov	CALLER_STACK, %rsp
	jmp	*%rcx

	.globl	enter_program
enter_program:
	mov	%rsi, %rsp
	xor	%edx, %edx
	jmp	*%rdi

	.balign	16
faults:
	.set	vector, 0
	.rept	32
	.balign	16
	push	$vector
	jmp	fault_arrives
	.set	vector, vector + 1
	.endr
fault_arrives:
	mov	%rsp, %rdi
	mov	%cr2, %rsi
	and	$-16, %rsp
	call	report_fault

	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9a000000ffff	/* CODE32 */
	.quad	0x00cf92000000ffff	/* DATA */
	.quad	0x00af9a000000ffff	/* CODE64 */
	.quad	0x00cf92000000ffff	/* the stack of syscall */
gdt_place:
	.word	. - gdt - 1
	.long	gdt
idt_place:
	.word	32 * 16 - 1
	.quad	IDT
