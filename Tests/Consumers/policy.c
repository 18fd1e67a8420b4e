/* SPDX-License-Identifier: Apache-2.0 */
/* A host that is configured by a policy file and calls nothing of libapus itself. */
#include <apus/apus_policy_file.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct apus_policy_file *file;
	char why[256];

	if (argc != 2 || apus_policy_file_load(argv[1], &file, why, sizeof(why)) < 0)
		return fprintf(stderr, "%s\n", argc == 2 ? why : "usage: policy FILE"), 1;
	apus_policy_file_free(file);
	puts("ok");
	return 0;
}
