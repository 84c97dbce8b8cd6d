package sweep

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/template"
)

// Script describes a job file.
type Script struct {
	For    string // a name of Systems
	Study  string // file, as the tasks find it
	Out    string // folder; each part gets one in it
	Shards int
	Jobs   int    // processors of each task
	Image  string // of the container; Kubernetes
	Claim  string // of the persistent volume that has the study and gets the results; Kubernetes
}

// Systems lists the batch systems that job files can be written for.
func Systems() []string { return []string{"slurm", "lsf", "k8s"} }

var scripts = template.Must(template.New("").Funcs(template.FuncMap{"quote": shellQuote, "yaml": yamlQuote}).Parse(`
{{- define "slurm"}}#!/bin/sh
#SBATCH --job-name={{.Name}}
#SBATCH --array=1-{{.Shards}}
#SBATCH --cpus-per-task={{.Jobs}}
#SBATCH --output={{.Name}}-%a.log
# A task that is requeued goes on where it ended. When all are done:
#   {{.Merge}}
exec maru sweep {{quote .Study}} --out {{quote .Out}}/part-"$SLURM_ARRAY_TASK_ID" --jobs {{.Jobs}} --resume
{{end}}
{{- define "lsf"}}#!/bin/sh
#BSUB -J {{.Name}}[1-{{.Shards}}]
#BSUB -n {{.Jobs}}
#BSUB -R span[hosts=1]
#BSUB -o {{.Name}}-%I.log
#BSUB -r
# A task that is run again goes on where it ended. When all are done:
#   {{.Merge}}
exec maru sweep {{quote .Study}} --out {{quote .Out}}/part-"$LSB_JOBINDEX" --jobs {{.Jobs}} --resume
{{end}}
{{- define "k8s"}}# A task that is run again goes on where it ended. When all are done:
#   {{.Merge}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{.Name}}
spec:
  completionMode: Indexed
  completions: {{.Shards}}
  parallelism: {{.Shards}}
  template:
    spec:
      restartPolicy: OnFailure
      containers:
        - name: maru
          image: {{yaml .Image}}
          command: ["maru", "sweep", {{yaml .Study}}, "--out", {{yaml (print .Out "/part-$(JOB_COMPLETION_INDEX)")}}, "--jobs", "{{.Jobs}}", "--resume"]
          workingDir: /data
          env:
            - name: {{.Variable}}
              value: "{{.Shards}}"
          resources:
            requests:
              cpu: "{{.Jobs}}"
          volumeMounts:
            - name: data
              mountPath: /data
      volumes:
        - name: data
          persistentVolumeClaim:
            claimName: {{yaml .Claim}}
{{end}}`))

// Write writes the job file: an array of as many tasks as there are shards, each
// of which sweeps its part into a folder of its own and goes on with it if it is
// started again.
func (s Script) Write(w io.Writer) error {
	if !slices.Contains(Systems(), s.For) {
		return fmt.Errorf("unknown batch system %q; allowed: %s", s.For, strings.Join(Systems(), ", "))
	}
	for _, text := range []string{s.Study, s.Out, s.Image, s.Claim} {
		if strings.ContainsAny(text, "\n\r\x00") {
			return fmt.Errorf("%q has a line break, which job files cannot hold", text)
		}
	}
	return scripts.ExecuteTemplate(w, s.For, struct {
		Script
		Name, Merge, Variable string
	}{s, jobName(s.Study), fmt.Sprintf("maru sweep merge %s/part-* --out %s", shellQuote(s.Out), shellQuote(s.Out)), CountVariable})
}

// jobName makes a name that all batch systems take from that of a file:
// lower-case letters, digits and hyphens.
func jobName(file string) string {
	base := path.Base(strings.ReplaceAll(file, `\`, "/"))
	base = strings.TrimSuffix(base, path.Ext(base))
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, base)
	const longest = 40
	name = "maru-" + name
	return strings.TrimRight(name[:min(len(name), longest)], "-")
}

// shellQuote is a text as one word of a shell, as it is if it needs no quotes.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-./:,@+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// yamlQuote is a text in double quotes.
func yamlQuote(s string) string { return quote(s) }
