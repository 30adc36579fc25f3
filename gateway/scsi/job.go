// SPDX-License-Identifier: Apache-2.0

package scsi

import "pathgate/backends"

// job is a command that takes several requests.
type job struct{}

func (j *job) abort(*backends.Batch) {}
