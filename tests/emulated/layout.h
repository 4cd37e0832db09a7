/* layout.h - where things lie in the memory of the emulated machine.
 *
 * The program under test is linked to 4 MiB and up, and its heap follows. At the top of the 4 GiB
 * lies the image: the program's file, its environment in the page below the last 64 KiB, and in
 * these the boot code, which the CPU sees once more below 1 MiB.
 */
#ifndef PORTIER_TESTS_EMULATED_LAYOUT_H
#define PORTIER_TESTS_EMULATED_LAYOUT_H

#define VARIABLES     0x10000 /* up to VARIABLES_END; struct variables in main.c */
#define CALLER_STACK  0x10008
#define IDT	      0x11000
#define VARIABLES_END 0x20000
#define STACK	      0x20000 /* of the boot code */
#define ROM	      0xf0000
#define TABLES	      0x100000 /* the upper three levels of the page tables, a page each */
#define PAGES	      0x103000
#define HEAP_END      0x1800000
#define FILE	      0x1800000 /* a copy of the image */
#define ENVIRONMENT   0x19ef000 /* in it: strings, each with its 0, and an empty one */
#define MAPS	      0x1a00000
#define MAPS_END      0x3000000
#define PROGRAM_STACK 0x4000000
#define MEMORY	      0x4000000

#define IMAGE	    0xffe00000
#define IMAGE_BYTES 0x200000

#endif
